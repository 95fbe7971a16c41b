"""What Keycloak says when it gives no token: the secret is blamed only for what it is to blame for."""

import json

import pytest

from qt_pipeline.errors import PipelineError
from qt_pipeline.quantemplate import (
    ClientConfig,
    CredentialsError,
    InvalidTokenResponseError,
    QuantemplateClient,
    RequestFailedError,
)
from qt_pipeline_tests.quantemplate import wire


def refusal(vendor: wire.WireServer, config: ClientConfig, status: int, body: bytes, **headers: str) -> PipelineError:
    vendor.on("/token", wire.Answer(wire.head(status, Content_Length=str(len(body)), **headers) + body))
    with pytest.raises(PipelineError) as refused:
        QuantemplateClient(config).authenticate()
    assert "canary" not in str(refused.value)
    return refused.value


# As Keycloak 15 to 26 say it.
@pytest.mark.parametrize(
    ("error", "description"),
    [
        ("invalid_client", "Invalid client or Invalid client credentials"),
        ("invalid_client", ""),
        ("unauthorized_client", "Invalid client secret"),
        ("unauthorized_client", "Client secret not provided in request"),
        ("unauthorized_client", "Invalid client or Invalid client credentials"),
        ("unauthorized_client", "UNAUTHORIZED_CLIENT: Invalid client credentials"),
    ],
)
@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_wrong_secret_is_said_to_be_one(
    vendor: wire.WireServer, config: ClientConfig, status: int, error: str, description: str
) -> None:
    body = json.dumps({"error": error, "error_description": description}).encode()
    refused = refusal(vendor, config, status, body)
    assert isinstance(refused, CredentialsError)
    assert "secret" in refused.message
    assert "QT_CLIENT_SECRET" in refused.hint


@pytest.mark.parametrize(
    ("error", "description", "says"),
    [
        ("unauthorized_client", "Client not enabled to retrieve service account", "no tokens by client credentials"),
        ("unauthorized_client", "Public client not allowed to retrieve service account", "no tokens by client"),
        ("invalid_client", "Public client not allowed to retrieve service account", "no tokens by client credentials"),
        ("invalid_client", "Bearer-only not allowed", "no tokens by client credentials"),
        ("invalid_client", "Client disabled", "disabled"),
        ("unauthorized_client", "canary", "unauthorized_client"),
        ("unauthorized_client", "", "unauthorized_client"),
        ("unsupported_grant_type", "Unsupported grant_type", "unsupported_grant_type"),
        ("invalid_scope", "Invalid scopes: canary", "scope"),
        ("invalid_request", "HTTPS required", "invalid_request"),
        ("canary", "canary", "reason"),
    ],
)
def test_what_the_secret_is_not_to_blame_for_does_not_blame_it(
    vendor: wire.WireServer, config: ClientConfig, error: str, description: str, says: str
) -> None:
    body = json.dumps({"error": error, "error_description": description}).encode()
    for status in (400, 401, 403):
        refused = refusal(vendor, config, status, body)
        assert isinstance(refused, CredentialsError)
        assert says in refused.message
        assert "QT_CLIENT_SECRET" not in str(refused)
        assert "refuses the secret" not in str(refused)


@pytest.mark.parametrize("status", [400, 401, 403])
@pytest.mark.parametrize("body", [b"<html>canary</html>", b"", b'["error"]', b"{}"])
def test_a_refusal_without_a_reason_may_be_that_of_a_proxy(
    vendor: wire.WireServer, config: ClientConfig, status: int, body: bytes
) -> None:
    refused = refusal(vendor, config, status, body)
    assert isinstance(refused, InvalidTokenResponseError)
    assert "without saying why" in refused.message
    assert refused.hint.startswith("Check QT_TOKEN_URL and HTTPS_PROXY")


def test_a_realm_that_is_not_there_is_a_matter_of_the_address(vendor: wire.WireServer, config: ClientConfig) -> None:
    refused = refusal(vendor, config, 404, b'{"error":"Realm does not exist"}')
    assert isinstance(refused, InvalidTokenResponseError)
    assert str(refused) == "The token endpoint answered 404. Check QT_TOKEN_URL."


@pytest.mark.parametrize("error", ["temporarily_unavailable", "server_error"])
def test_what_passes_by_itself_is_tried_again(vendor: wire.WireServer, config: ClientConfig, error: str) -> None:
    refused = refusal(vendor, config, 400, json.dumps({"error": error}).encode())
    assert isinstance(refused, RequestFailedError)
    assert "secret" not in str(refused)

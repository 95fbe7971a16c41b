import gzip
from collections.abc import Callable
from typing import Any

import pytest
import requests

from qt_pipeline.sandbox import SANDBOX_DATASETS, SandboxServer
from qt_pipeline.sandbox.pipelines import OUTPUT_ID, PIPELINE_ID
from qt_pipeline_tests.sandbox.conftest import SMALL_CSV, Client

LOSSES = SANDBOX_DATASETS[0].id
EXECUTIONS = f"pipelines/{PIPELINE_ID}/executions"

StartExecution = Callable[[float], dict[str, Any]]


def test_a_token_has_keycloaks_shape(client: Client) -> None:
    answer = client.ask_for_token()

    assert answer.status_code == 200
    token = answer.json()
    assert token.pop("access_token")
    assert token == {
        "expires_in": 60,
        "refresh_expires_in": 0,
        "token_type": "Bearer",
        "not-before-policy": 0,
        "scope": "profile email",
    }


@pytest.mark.parametrize(
    ("fields", "status", "error"),
    [
        ({"client_id": "someone-else"}, 401, "invalid_client"),
        ({"client_id": ""}, 401, "invalid_client"),
        ({"client_secret": "wrong"}, 401, "unauthorized_client"),
        ({"client_secret": "mäßig"}, 401, "unauthorized_client"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": ""}, 400, "invalid_request"),
    ],
)
def test_a_refused_token_request_is_answered_as_keycloak_does(
    client: Client, fields: dict[str, str], status: int, error: str
) -> None:
    answer = client.ask_for_token(**fields)

    assert answer.status_code == status
    assert answer.json()["error"] == error
    assert answer.json()["error_description"]


def test_a_token_request_must_be_form_encoded(client: Client) -> None:
    answer = client.http.post(client.server.token_url, json={"grant_type": "client_credentials"}, timeout=10)

    assert answer.status_code == 415


@pytest.mark.parametrize("authorization", [None, "Bearer ", "Bearer made-up", "Basic YTpi"])
def test_a_download_without_a_valid_token_is_401_in_plain_text(client: Client, authorization: str | None) -> None:
    answer = client.download(LOSSES, headers={"Authorization": authorization})

    assert answer.status_code == 401
    assert answer.headers["Content-Type"].startswith("text/plain")


def test_an_expired_token_is_401_and_a_new_one_works(client: Client) -> None:
    assert client.download(LOSSES, stream=True).status_code == 200
    client.server.state.tokens.expire_all()
    assert client.download(LOSSES).status_code == 401
    client.sign_in()
    assert client.download(LOSSES, stream=True).status_code == 200


def test_a_token_ends_by_itself_after_its_lifetime() -> None:
    with SandboxServer(token_seconds=0) as server:
        client = Client(server)
        client.sign_in()
        assert client.download(LOSSES).status_code == 401


def test_another_organisation_is_403_in_plain_text(client: Client) -> None:
    url = f"{client.server.api_url}/organisations/c-someone-else/datasets/{LOSSES}"
    answer = client.http.get(url, timeout=10)

    assert answer.status_code == 403
    assert answer.headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize(
    "path", ["datasets/d-unknown", f"datasets/{LOSSES}?version=99", "pipelines/p-unknown/executions"]
)
def test_what_does_not_exist_is_404_in_json(client: Client, path: str) -> None:
    answer = client.api("GET", path)

    assert answer.status_code == 404
    assert answer.json()["message"]


def test_a_version_that_is_no_number_is_400(client: Client) -> None:
    assert client.download(LOSSES, params={"version": "newest"}).status_code == 400


def test_a_download_is_csv_in_chunks_without_a_length(client: Client) -> None:
    answer = client.download(LOSSES)

    assert answer.headers["Content-Type"] == "text/csv"
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert "Content-Length" not in answer.headers
    assert "Content-Encoding" not in answer.headers
    assert answer.content == client.server.state.version(LOSSES).csv


def test_a_download_serves_the_newest_version_or_the_one_asked_for(client: Client, dataset_id: str) -> None:
    client.server.state.put(dataset_id, b"a\n2\n")

    assert client.download(dataset_id).content == b"a\n2\n"
    assert client.download(dataset_id, params={"version": 1}).content == SMALL_CSV


def test_only_the_last_versions_are_kept(client: Client, dataset_id: str) -> None:
    for number in range(2, 8):
        client.server.state.put(dataset_id, b"a\n%d\n" % number)

    assert client.download(dataset_id, params={"version": 4}).content == b"a\n4\n"
    assert client.download(dataset_id, params={"version": 3}).status_code == 404


def test_gzip_is_sent_only_when_switched_on_and_accepted(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client.server.state, "gzip", True)

    plain = client.download(LOSSES, headers={"Accept-Encoding": "identity"})
    packed = client.download(LOSSES, headers={"Accept-Encoding": "gzip"}, stream=True)

    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.raw.read(decode_content=False)) == plain.content


@pytest.fixture
def start_execution(client: Client, monkeypatch: pytest.MonkeyPatch) -> StartExecution:
    """Starts the pipeline and returns the execution, which takes the given seconds."""

    def start(seconds: float) -> dict[str, Any]:
        monkeypatch.setattr(client.server.state.pipeline, "execution_seconds", seconds)
        return client.api("POST", EXECUTIONS).json()

    return start


def test_an_execution_starts_without_outputs_and_finishes_with_one(
    client: Client, start_execution: StartExecution
) -> None:
    running = start_execution(3600)
    finished = start_execution(0)

    assert running["status"] == "Started"
    assert running["outputs"] == []
    assert "finishedAt" not in running
    *_, first, second = client.api("GET", EXECUTIONS).json()
    assert first == running
    assert second["id"] == finished["id"]
    assert second["runNumber"] == running["runNumber"] + 1
    assert second["status"] == "Succeeded"
    assert second["finishedAt"]
    assert [output["id"] for output in second["outputs"]] == [OUTPUT_ID]


def test_the_output_of_a_finished_execution_is_a_datasets_csv(client: Client, start_execution: StartExecution) -> None:
    execution_id = start_execution(0)["id"]

    answer = client.api("GET", f"{EXECUTIONS}/{execution_id}/outputs/{OUTPUT_ID}")

    assert answer.headers["Content-Type"] == "text/csv"
    assert answer.content == client.server.state.version(LOSSES).csv


@pytest.mark.parametrize(("seconds", "output_id"), [(3600, OUTPUT_ID), (0, "o-unknown")])
def test_an_output_that_is_not_there_is_404(
    client: Client, start_execution: StartExecution, seconds: float, output_id: str
) -> None:
    execution_id = start_execution(seconds)["id"]

    assert client.api("GET", f"{EXECUTIONS}/{execution_id}/outputs/{output_id}").status_code == 404


@pytest.mark.parametrize("path", [EXECUTIONS, f"{EXECUTIONS}/e-any/outputs/{OUTPUT_ID}"])
def test_pipelines_ask_for_a_token_too(client: Client, path: str) -> None:
    assert client.api("GET", path, headers={"Authorization": None}).status_code == 401


def test_the_control_routes_ask_for_no_token(client: Client) -> None:
    assert requests.get(f"{client.server.base_url}/_control/datasets", timeout=10).status_code == 200

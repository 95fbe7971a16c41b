import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from qt_pipeline.errors import ConfigurationError
from qt_pipeline.quantemplate import (
    ClientConfig,
    Download,
    QuantemplateClient,
    RedirectError,
    RequestFailedError,
    UnauthorisedError,
)
from qt_pipeline_tests.quantemplate import wire
from qt_pipeline_tests.quantemplate.conftest import DATASET, PATH, SECRET, Sinks

CSV = wire.content(b"a,b\n1,2\n")
HOST = "api.quantemplate.example"
Downloader = Callable[..., Download]


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logins for every host used here, and no other way to them than the direct one."""
    file = tmp_path / "netrc"
    file.write_text("machine 127.0.0.1 login other password other\n")
    monkeypatch.setenv("NETRC", str(file))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    # On loopback the environment is not looked at; here it must be, and must not win.
    monkeypatch.setattr("requests.Session.trust_env", property(lambda _: True, lambda _, __: None), raising=False)


def test_a_redirect_within_the_vendor_keeps_the_token(vendor: wire.WireServer, download: Downloader) -> None:
    vendor.on(PATH, wire.status(302, Location="/elsewhere?part=1"))
    vendor.on("/elsewhere", CSV)
    download()
    [request] = vendor.seen_on("/elsewhere")
    assert request.target == "/elsewhere?part=1"
    assert request.headers["authorization"] == "Bearer token-1"
    assert request.headers["x-qt-trace-id"] == "run-1"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_port_takes_neither_token_nor_cookie_along(
    vendor: wire.WireServer, elsewhere: wire.WireServer, download: Downloader, sinks: Sinks, status: int
) -> None:
    vendor.on(PATH, wire.status(status, Location=f"{elsewhere.url}/file", Set_Cookie="session=secret; Path=/"))
    elsewhere.on("/file", CSV)
    download()
    [request] = elsewhere.seen
    assert "authorization" not in request.headers
    assert "cookie" not in request.headers
    assert sinks.kept == [b"a,b\n1,2\n"]


def test_a_redirect_to_another_host_does_not_take_the_token_along(
    vendor: wire.WireServer, download: Downloader
) -> None:
    vendor.on(PATH, wire.status(302, Location=f"http://localhost:{vendor.port}/file"))
    vendor.on("/file", CSV)
    download()
    assert "authorization" in vendor.seen_on(PATH)[0].headers
    assert "authorization" not in vendor.seen_on("/file")[0].headers


def test_a_token_that_was_dropped_does_not_come_back(
    vendor: wire.WireServer, elsewhere: wire.WireServer, download: Downloader
) -> None:
    vendor.on(PATH, wire.status(302, Location=f"{elsewhere.url}/there"))
    elsewhere.on("/there", wire.status(302, Location=f"{vendor.url}/back"))
    vendor.on("/back", CSV)
    download()
    assert "authorization" not in vendor.seen_on("/back")[0].headers


def test_a_cookie_is_not_kept_for_the_next_request(vendor: wire.WireServer, config: ClientConfig, sinks: Sinks) -> None:
    vendor.on(PATH, wire.content(b"a\n1\n", Set_Cookie="session=secret; Path=/"))
    client = QuantemplateClient(config)
    for _ in range(2):
        client.download_dataset(DATASET, sinks.open, trace_id="run-1")
    assert all("cookie" not in request.headers for request in vendor.seen)


@pytest.mark.usefixtures("netrc")
def test_a_netrc_file_changes_no_request(
    vendor: wire.WireServer, elsewhere: wire.WireServer, download: Downloader
) -> None:
    vendor.on(PATH, wire.status(302, Location="/near"))
    vendor.on("/near", wire.status(302, Location=f"{elsewhere.url}/far"))
    elsewhere.on("/far", CSV)
    download()
    assert [request.headers.get("authorization") for request in (*vendor.seen, *elsewhere.seen)] == [
        None,
        "Bearer token-1",
        "Bearer token-1",
        None,
    ]


def test_three_redirects_are_followed_and_no_fourth(
    vendor: wire.WireServer, download: Downloader, sinks: Sinks
) -> None:
    hops = [wire.status(302, Location=PATH)] * 3
    vendor.on(PATH, *hops, CSV)
    download()
    assert len(sinks.kept) == 1
    vendor.on(PATH, *hops, wire.status(302, Location=PATH), CSV)
    with pytest.raises(RedirectError, match="more than 3"):
        download()


@pytest.mark.parametrize(
    "location", ["http://quantemplate.example/file", "ftp://127.0.0.1/file", "file:///etc/passwd", "https://[", ""]
)
def test_a_redirect_elsewhere_is_not_followed(vendor: wire.WireServer, download: Downloader, location: str) -> None:
    vendor.on(PATH, wire.status(302, Location=location))
    with pytest.raises(RedirectError, match="QT_API_URL"):
        download()


def test_the_body_of_a_redirect_is_not_waited_for(vendor: wire.WireServer, download: Downloader) -> None:
    endless = wire.Answer(wire.head(302, Location="/file", Content_Length="99"), end="silence")
    vendor.on(PATH, endless)
    vendor.on("/file", CSV)
    assert download(read_timeout_seconds=1).attempts == 1


def test_a_redirect_that_drops_the_token_may_end_as_unauthorised(
    vendor: wire.WireServer, elsewhere: wire.WireServer, download: Downloader
) -> None:
    vendor.on(PATH, wire.status(302, Location=f"{elsewhere.url}/file"))
    elsewhere.on("/file", wire.status(401))
    with pytest.raises(UnauthorisedError):
        download()


def test_no_proxy_of_the_environment_is_used_for_loopback(
    vendor: wire.WireServer, elsewhere: wire.WireServer, download: Downloader, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, elsewhere.url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    vendor.on(PATH, CSV)
    download()
    assert elsewhere.seen == []


@pytest.fixture
def beyond(config: ClientConfig, monkeypatch: pytest.MonkeyPatch) -> ClientConfig:
    """A vendor beyond loopback. Its host does not exist: only a proxy leads there."""
    for name in ("no_proxy", "NO_PROXY", "https_proxy", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    return replace(config, api_url=f"https://{HOST}/v1", token_url=f"https://{HOST}/token")


def test_a_proxy_of_the_environment_leads_to_the_vendor(
    beyond: ClientConfig, elsewhere: wire.WireServer, sinks: Sinks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", elsewhere.url)
    elsewhere.on(f"{HOST}:443", wire.status(502))
    with pytest.raises(RequestFailedError, match="HTTPS_PROXY"):
        QuantemplateClient(beyond).download_dataset(DATASET, sinks.open, trace_id="run-1")
    assert [(request.method, request.target) for request in elsewhere.seen] == [("CONNECT", f"{HOST}:443")] * 3
    assert SECRET not in str(elsewhere.seen)


@pytest.mark.parametrize("path", ["/token", PATH])
def test_a_connection_that_is_cut_off_before_an_answer_is_called_so(
    vendor: wire.WireServer, download: Downloader, path: str
) -> None:
    vendor.on(path, wire.Answer(b"", end="reset"))
    peer = "the token endpoint" if path == "/token" else "Quantemplate"
    with pytest.raises(RequestFailedError, match=f"No connection to {peer}: the connection was cut off"):
        download()


def test_a_name_that_cannot_be_resolved_is_said_without_the_name(
    beyond: ClientConfig, sinks: Sinks, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(RequestFailedError) as failure:
        QuantemplateClient(beyond).download_dataset(DATASET, sinks.open, trace_id="run-1")
    assert "No connection to the token endpoint: the name cannot be resolved." in str(failure.value)
    assert HOST not in str(failure.value)


def test_a_proxy_that_refuses_is_told_from_a_vendor_that_does(
    beyond: ClientConfig, sinks: Sinks, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
    with pytest.raises(RequestFailedError, match=r"No way through the proxy .*: the connection was refused\."):
        QuantemplateClient(beyond).download_dataset(DATASET, sinks.open, trace_id="run-1")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for the vendor's host that nobody but itself vouches for, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "vendor.pem"
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    file.write_bytes(
        signed.public_bytes(serialization.Encoding.PEM) + key.private_bytes(serialization.Encoding.PEM, pkcs8, plain)
    )
    return file


@pytest.fixture
def tls_proxy(vendor: wire.WireServer, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment's proxy: it answers every CONNECT by itself, in TLS, with what the vendor on loopback says."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(tunnel: socket.socket) -> None:
        with tunnel:
            tunnel.recv(65536)
            tunnel.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            try:
                secured = context.wrap_socket(tunnel, server_side=True)
            except OSError:  # the client does not trust the certificate
                return
            with secured:
                vendor.serve(secured)

    def accept() -> None:
        while True:
            try:
                tunnel, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(tunnel,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{listener.getsockname()[1]}")
    yield
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.mark.usefixtures("tls_proxy")
def test_a_private_certificate_authority_of_the_environment_is_trusted(
    vendor: wire.WireServer,
    beyond: ClientConfig,
    certificate: Path,
    sinks: Sinks,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vendor.on(PATH, CSV)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    QuantemplateClient(beyond).download_dataset(DATASET, sinks.open, trace_id="run-1")
    assert sinks.kept == [b"a,b\n1,2\n"]
    assert vendor.seen_on(PATH)[0].headers["authorization"] == "Bearer token-1"


@pytest.mark.usefixtures("tls_proxy")
def test_an_unknown_certificate_is_refused_and_the_setting_named(
    vendor: wire.WireServer, beyond: ClientConfig, sinks: Sinks
) -> None:
    with pytest.raises(RequestFailedError, match="REQUESTS_CA_BUNDLE"):
        QuantemplateClient(beyond).download_dataset(DATASET, sinks.open, trace_id="run-1")
    assert vendor.seen == []


@pytest.mark.parametrize(
    ("variable", "value"),
    [("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem"), ("HTTPS_PROXY", "http://user:hunter2@proxy:99999")],
)
def test_an_unusable_environment_is_a_matter_of_configuration(
    beyond: ClientConfig, sinks: Sinks, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=variable) as outcome:
        QuantemplateClient(beyond).download_dataset(DATASET, sinks.open, trace_id="run-1")
    assert "hunter2" not in str(outcome.value)

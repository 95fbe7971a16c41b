"""The nginx lines of docs/production.md, as they stand there, run by a real nginx."""

import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from requests.adapters import HTTPAdapter
from starlette.types import Receive, Scope, Send
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from qt_pipeline.demo import Ports, free_ports

_NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(_NGINX is None, reason="nginx is not installed (on Debian: apt-get install nginx-light)."),
]

PAGE = Path(__file__).parent.parent.parent / "docs" / "production.md"
DAGSTER, EVENTS = "dagster.example.com", "events.example.com"
LOGIN = ("somebody", "a-password")
JSON = {"Content-Type": "application/json"}
_WAIT_SECONDS = 20


@dataclass
class Proxy:
    """An nginx that runs the page's lines, and the requests that came through it, by upstream."""

    port: int
    certificate: Path
    arrived: list[tuple[str, str, str]]

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None, *, host: str = DAGSTER) -> int:
        """The status of the answer, asked with the login."""
        with requests.Session() as session:
            session.trust_env = False
            session.mount("https://", _Named(host))
            url = f"https://127.0.0.1:{self.port}{path}"
            sent = {"Host": host, **(headers or {})}
            answer = session.request(
                method, url, headers=sent, auth=LOGIN, verify=str(self.certificate), timeout=10, allow_redirects=False
            )
        return answer.status_code

    def subscribe(self, headers: dict[str, str]) -> int:
        """The status of an upgrade to a WebSocket."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        login = b64encode(":".join(LOGIN).encode()).decode()
        try:
            with connect(
                f"wss://{DAGSTER}:{self.port}/graphql",
                sock=socket.create_connection(("127.0.0.1", self.port)),
                ssl=context,
                server_hostname=DAGSTER,
                additional_headers={"Authorization": f"Basic {login}", **headers},
                proxy=None,
            ):
                return 101
        except InvalidStatus as refused:
            return refused.response.status_code


class _Named(HTTPAdapter):
    """Says by SNI which server is meant, and expects its certificate."""

    def __init__(self, name: str) -> None:
        self._name = name
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options, server_hostname=self._name, assert_hostname=self._name)


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of both names, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, DAGSTER)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(DAGSTER), x509.DNSName(EVENTS)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "both.pem", folder / "both.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    formats = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    private.write_bytes(key.private_bytes(*formats))
    return certificate, private


def config(folder: Path, port: int, relay: int, dagster: int) -> str:
    """The page's blocks within what any nginx needs; only ports and paths are of this machine."""
    certificate, private = write_certificate(folder)
    (folder / "htpasswd").write_text(f"{LOGIN[0]}:{{PLAIN}}{LOGIN[1]}\n")
    blocks = re.findall(r"^```nginx\n(.*?)^```", PAGE.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    assert len(blocks) == 2
    lines = "\n".join(blocks)
    for pattern, ours in (
        (r"listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        (r"/etc/ssl/certs/\w+\.pem", str(certificate)),
        (r"/etc/ssl/private/\w+\.key", str(private)),
        (r"/etc/nginx/dagster\.htpasswd", str(folder / "htpasswd")),
        (r"127\.0\.0\.1:8642", f"127.0.0.1:{relay}"),
        (r"127\.0\.0\.1:3000", f"127.0.0.1:{dagster}"),
        (r'"https://dagster\.example\.com"', f'"https://{DAGSTER}:{port}"'),
    ):
        lines, count = re.subn(pattern, ours, lines)
        assert count, pattern
    temporary = "\n".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    # A master process of root gives its workers to another user, who may not read a test's folder.
    user = "user root;" if os.geteuid() == 0 else ""
    return (
        f"{user} daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1;\n"
        f"events {{}}\nhttp {{ access_log off; {temporary}\n{lines}\n}}\n"
    )


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("nginx")
    ports = free_ports(Ports(0, 0, 0), lambda _: None)
    arrived: list[tuple[str, str, str]] = []
    servers = [_upstream("relay", ports.relay, arrived), _upstream("dagster", ports.dagster, arrived)]
    (folder / "nginx.conf").write_text(config(folder, ports.sandbox, ports.relay, ports.dagster))
    command = [str(_NGINX), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    nginx = subprocess.Popen(command)
    running = Proxy(ports.sandbox, folder / "both.pem", arrived)
    try:
        deadline = time.monotonic() + _WAIT_SECONDS
        while True:
            assert nginx.poll() is None, (folder / "error.log").read_text()
            with suppress(requests.RequestException):
                if running.ask("GET", "/") == 200:
                    break
            assert time.monotonic() < deadline, (folder / "error.log").read_text()
            time.sleep(0.05)
        yield running
    finally:
        nginx.terminate()
        nginx.wait()
        for server in servers:
            server.should_exit = True


def _upstream(name: str, port: int, arrived: list[tuple[str, str, str]]) -> uvicorn.Server:
    """What stands behind nginx: it takes everything, as Dagster does."""

    async def take(scope: Scope, receive: Receive, send: Send) -> None:
        arrived.append((name, scope.get("method", "WEBSOCKET"), scope["path"]))
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await receive()
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    server = uvicorn.Server(uvicorn.Config(take, host="127.0.0.1", port=port, lifespan="off", log_config=None))
    threading.Thread(target=server.run, daemon=True).start()
    deadline = time.monotonic() + _WAIT_SECONDS
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return server


def origin(proxy: Proxy) -> str:
    return f"https://{DAGSTER}:{proxy.port}"


def test_what_the_ui_sends_arrives(proxy: Proxy) -> None:
    same = {"Origin": origin(proxy), "Sec-Fetch-Site": "same-origin"}
    assert proxy.ask("GET", "/assets", {"Sec-Fetch-Site": "none"}) == 200
    assert proxy.ask("POST", "/graphql", {**JSON, **same}) == 200
    assert proxy.ask("POST", "/graphql", {"Content-Type": "application/json; charset=utf-8", **same}) == 200
    assert proxy.subscribe(same) == 101
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert proxy.ask("GET", "/runs/1", link) == 200


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("POST", "/graphql", {**JSON, "Origin": "http://evil.example"}),
        ("POST", "/graphql", {**JSON, "Origin": "null"}),
        ("POST", "/graphql", {**JSON, "Sec-Fetch-Site": "cross-site"}),
        ("POST", "/graphql", {**JSON, "Sec-Fetch-Site": "same-site"}),
        ("POST", "/graphql", {"Content-Type": "text/plain"}),
        ("POST", "/graphql", {"Content-Type": "text/plain; application/json"}),
        ("POST", "/graphql", {"Content-Type": "application/x-www-form-urlencoded"}),
        ("POST", "/report_asset_materialization/warehouse/table", {}),
        ("GET", "/graphql?query=mutation{x}", {}),
        ("HEAD", "/graphql?query=mutation{x}", {}),
        ("GET", "/graphql?query=mutation{x}", {"Sec-Fetch-Site": "cross-site"}),
        ("GET", "/%67raphql?query=mutation{x}", {}),
        ("GET", "/assets", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}),
        ("PUT", "/graphql", JSON),
        ("OPTIONS", "/graphql", {"Origin": "http://evil.example"}),
    ],
)
def test_what_another_page_sends_does_not_arrive(proxy: Proxy, method: str, path: str, headers: dict[str, str]) -> None:
    before = list(proxy.arrived)
    assert proxy.ask(method, path, headers) == 403
    assert proxy.arrived == before


def test_a_subscription_of_another_page_does_not_arrive(proxy: Proxy) -> None:
    before = list(proxy.arrived)
    assert proxy.subscribe({"Origin": "http://evil.example"}) == 403
    assert proxy.arrived == before


def test_another_name_does_not_arrive(proxy: Proxy) -> None:
    before = list(proxy.arrived)
    with pytest.raises(requests.exceptions.SSLError):
        proxy.ask("GET", "/", host="evil.example")
    # The name of the certificate, and another in the request.
    assert proxy.ask("GET", "/", {"Host": "evil.example"}) in (421, 400)
    assert proxy.arrived == before


def test_who_does_not_log_in_does_not_arrive(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    before = list(proxy.arrived)
    monkeypatch.setattr(f"{__name__}.LOGIN", ("somebody", "wrong"))
    assert proxy.ask("GET", "/assets") == 401
    assert proxy.arrived == before


@pytest.mark.parametrize("path", ["/webhooks/quantemplate", "/webhooks/quantemplate/", "/webhooks/quantemplate/token"])
def test_an_event_arrives_at_the_relay_with_and_without_a_slash(proxy: Proxy, path: str) -> None:
    assert proxy.ask("POST", path, JSON, host=EVENTS) == 200
    assert proxy.arrived[-1] == ("relay", "POST", path)


@pytest.mark.parametrize("path", ["/", "/metrics", "/readyz", "/webhooks/quantemplatex", "/graphql"])
def test_nothing_else_arrives_at_the_relay(proxy: Proxy, path: str) -> None:
    before = list(proxy.arrived)
    assert proxy.ask("POST", path, JSON, host=EVENTS) == 404
    assert proxy.arrived == before

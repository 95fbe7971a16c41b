import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import requests

from qt_pipeline.sandbox import SandboxServer

SMALL_CSV = b"Reference,Amount\n" + b"007,1.25\n" * 1000


class Client:
    """A user of the sandbox over HTTP: what a test wants to say, in few words."""

    def __init__(self, server: SandboxServer) -> None:
        self.server = server
        self.http = requests.Session()
        self.http.trust_env = False

    def ask_for_token(self, **fields: str) -> requests.Response:
        form = {
            "grant_type": "client_credentials",
            "client_id": self.server.client_id,
            "client_secret": self.server.client_secret,
        }
        return self.http.post(self.server.token_url, data=form | fields, timeout=10)

    def sign_in(self) -> None:
        self.http.headers["Authorization"] = f"Bearer {self.ask_for_token().json()['access_token']}"

    def api(self, method: str, path: str, **options: object) -> requests.Response:
        url = f"{self.server.api_url}/organisations/{self.server.organisation_id}/{path}"
        return self.http.request(method, url, timeout=30, **options)

    def download(self, dataset_id: str, **options: object) -> requests.Response:
        return self.api("GET", f"datasets/{dataset_id}", **options)

    def control(self, method: str, path: str, **options: object) -> requests.Response:
        return self.http.request(method, f"{self.server.base_url}/_control/{path}", timeout=30, **options)


@pytest.fixture(scope="session")
def server() -> Iterator[SandboxServer]:
    """One sandbox for all tests that leave its three datasets as they are."""
    with SandboxServer() as running:
        yield running


@pytest.fixture
def client(server: SandboxServer) -> Client:
    """A client with a token of its own."""
    client = Client(server)
    client.sign_in()
    return client


@pytest.fixture
def dataset_id(server: SandboxServer) -> str:
    """A small dataset that no other test touches."""
    fresh = f"d-{uuid.uuid4().hex[:24]}"
    server.state.put(fresh, SMALL_CSV)
    return fresh


@dataclass
class Webhook:
    """What a real webhook heard; `stop` takes it off the network."""

    url: str
    stop: Callable[[], None]
    bodies: list[bytes] = field(default_factory=list)

    @property
    def events(self) -> list[dict[str, object]]:
        return [json.loads(body) for body in self.bodies]


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    """A real webhook that answers each event with 202 and its sequence."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            answer = json.dumps({"sequence": len(received.bodies)}).encode()
            self.send_response(202)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    def stop() -> None:
        listener.shutdown()
        listener.server_close()

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    received = Webhook(f"http://127.0.0.1:{listener.server_port}/webhooks/quantemplate/a-secret-path", stop)
    Thread(target=listener.serve_forever, args=(0.01,), daemon=True).start()
    yield received
    stop()

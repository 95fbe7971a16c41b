import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from qt_pipeline.errors import ConfigurationError
from qt_pipeline.sandbox import SandboxServer, serve
from qt_pipeline_tests.sandbox.conftest import Client


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.com", ""])
def test_serve_refuses_to_listen_beyond_loopback(host: str) -> None:
    with pytest.raises(ConfigurationError, match=r"127\.0\.0\.1"):
        serve(host, 0, client_id="id", client_secret="secret")


def test_serve_runs_in_the_foreground_until_it_is_told_to_stop() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    program = f"from qt_pipeline.sandbox import serve; serve('127.0.0.1', {port}, client_id='i', client_secret='s')"
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        try:
            assert eventually_answers(f"http://127.0.0.1:{port}/_control/datasets")
        finally:
            os.kill(process.pid, signal.SIGTERM)
        process.wait(timeout=10)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{port}/_control/datasets", timeout=5)


def eventually_answers(url: str) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            return requests.get(url, timeout=5).ok
        except requests.ConnectionError:
            time.sleep(0.05)
    return False


def test_two_sandboxes_live_side_by_side_with_secrets_of_their_own() -> None:
    with SandboxServer() as one, SandboxServer() as other:
        assert one.base_url != other.base_url
        assert one.client_secret != other.client_secret
        assert Client(one).ask_for_token(client_secret=other.client_secret).status_code == 401


def test_given_credentials_are_the_ones_that_count() -> None:
    with SandboxServer(client_id="me", client_secret="mine") as server:
        assert Client(server).ask_for_token(client_id="me", client_secret="mine").status_code == 200


def test_after_the_block_neither_thread_nor_socket_is_left() -> None:
    with SandboxServer() as server:
        pass

    assert server.base_url not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(requests.ConnectionError):
        requests.get(server.base_url, timeout=5)


def test_a_download_in_flight_does_not_hold_up_the_end() -> None:
    with SandboxServer() as server:
        client = Client(server)
        client.sign_in()
        server.state.put("d-small", b"a\n1\n")
        client.control("PUT", "datasets/d-small/faults", json=[{"kind": "slow", "seconds": 600}])
        in_flight = client.download("d-small", stream=True)
        began = time.monotonic()

    assert time.monotonic() - began < 30
    in_flight.close()


def test_downloads_and_changes_at_the_same_time_serve_only_whole_versions(client: Client, dataset_id: str) -> None:
    state = client.server.state
    versions = {state.version(dataset_id).csv}

    def change() -> None:
        for _ in range(20):
            versions.add(state.change(dataset_id).csv)

    with ThreadPoolExecutor(4) as pool:
        changing = pool.submit(change)
        downloads = list(pool.map(lambda _: client.download(dataset_id).content, range(60)))
        changing.result()

    assert set(downloads) <= versions
    assert state.version(dataset_id).number == 21

import gzip
import socket
import time
import zlib
from urllib.parse import urlsplit

import pytest
import requests

from qt_pipeline_tests.sandbox.conftest import SMALL_CSV, Client


class Dataset:
    """The small dataset of one test: spoilt and downloaded."""

    def __init__(self, client: Client, dataset_id: str) -> None:
        self.client = client
        self.id = dataset_id

    def spoil(self, *faults: dict[str, object]) -> None:
        assert self.client.control("PUT", f"datasets/{self.id}/faults", json=faults).status_code == 204

    def download(self, **options: object) -> requests.Response:
        return self.client.download(self.id, **options)

    def statuses(self, count: int) -> list[int]:
        return [self.download().status_code for _ in range(count)]

    def received(self, **options: object) -> tuple[requests.Response, bytes, bool]:
        """The answer, the bytes that came, and whether the body ended properly."""
        answer = self.download(stream=True, **options)
        body = b""
        try:
            for piece in answer.iter_content(100):
                body += piece
        except (requests.exceptions.ChunkedEncodingError, requests.ConnectionError):
            return answer, body, False
        return answer, body, True


@pytest.fixture
def dataset(client: Client, dataset_id: str) -> Dataset:
    return Dataset(client, dataset_id)


def test_a_fault_spoils_one_download_and_the_next_is_well(dataset: Dataset) -> None:
    dataset.spoil({"kind": "status", "status": 503, "headers": {"Retry-After": "7"}})

    spoilt = dataset.download()

    assert (spoilt.status_code, spoilt.headers["Retry-After"]) == (503, "7")
    assert dataset.download().content == SMALL_CSV


def test_faults_are_consumed_in_order_each_as_often_as_it_says(dataset: Dataset) -> None:
    dataset.spoil({"kind": "status", "status": 500, "times": 2}, {"kind": "status", "status": 429})

    assert dataset.statuses(4) == [500, 500, 429, 200]


def test_a_fault_without_end_lasts_until_it_is_changed(dataset: Dataset) -> None:
    dataset.spoil({"kind": "not_ready", "times": None})
    assert dataset.statuses(3) == [204, 204, 204]
    dataset.spoil()
    assert dataset.download().status_code == 200


def test_a_fault_is_not_consumed_by_a_refused_request(dataset: Dataset) -> None:
    dataset.spoil({"kind": "status", "status": 500})

    assert dataset.download(headers={"Authorization": None}).status_code == 401
    assert dataset.download(params={"version": 99}).status_code == 404
    assert dataset.download().status_code == 500


@pytest.mark.parametrize(
    ("kind", "status", "content_type"),
    [
        ("not_ready", 204, "text/plain"),
        ("html", 200, "text/html"),
        ("json", 200, "application/json"),
        ("empty", 200, "text/csv"),
        ("expire_token", 401, "text/plain"),
    ],
)
def test_another_answer_comes_with_its_status_and_type(
    dataset: Dataset, kind: str, status: int, content_type: str
) -> None:
    dataset.spoil({"kind": kind})

    answer = dataset.download()

    assert answer.status_code == status
    assert answer.headers["Content-Type"].partition(";")[0] == content_type


def test_an_empty_body_has_no_byte_and_ends_properly(dataset: Dataset) -> None:
    dataset.spoil({"kind": "empty"})

    _, body, is_whole = dataset.received()

    assert (body, is_whole) == (b"", True)


@pytest.mark.parametrize("fraction", [0, 0.5, 0.99])
def test_a_cut_drops_the_connection_before_the_last_chunk(dataset: Dataset, fraction: float) -> None:
    dataset.spoil({"kind": "cut", "fraction": fraction})

    answer, body, is_whole = dataset.received()

    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert SMALL_CSV.startswith(body)
    assert len(body) <= len(SMALL_CSV) * fraction
    assert not is_whole


def test_half_of_a_body_that_is_cut_in_the_middle_arrives(dataset: Dataset) -> None:
    dataset.spoil({"kind": "cut", "fraction": 0.5})

    _, body, _ = dataset.received()

    assert len(SMALL_CSV) * 0.4 < len(body) <= len(SMALL_CSV) * 0.5


def test_a_short_body_promises_more_than_it_brings(dataset: Dataset) -> None:
    dataset.spoil({"kind": "short_length"})

    answer, body, is_whole = dataset.received()

    assert answer.headers["Content-Length"] == str(len(SMALL_CSV))
    assert len(body) < len(SMALL_CSV)
    assert not is_whole


def test_a_compressed_body_can_be_cut_too(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset.client.server.state, "gzip", True)
    dataset.spoil({"kind": "cut"})

    answer, _, is_whole = dataset.received(headers={"Accept-Encoding": "gzip"})

    assert answer.headers["Content-Encoding"] == "gzip"
    assert not is_whole


@pytest.mark.parametrize("fraction", [0.5, 0.99])
def test_a_reset_breaks_the_connection_within_the_body(dataset: Dataset, fraction: float) -> None:
    dataset.spoil({"kind": "reset", "fraction": fraction})

    _, body, is_whole = dataset.received()

    assert SMALL_CSV.startswith(body)
    assert len(SMALL_CSV) * (fraction - 0.1) < len(body) <= len(SMALL_CSV) * fraction
    assert not is_whole


def test_a_reset_at_zero_comes_before_any_answer(dataset: Dataset) -> None:
    dataset.spoil({"kind": "reset", "fraction": 0})

    with pytest.raises(requests.ConnectionError, match="reset by peer"):
        dataset.download()


def test_a_gzip_stream_may_end_too_early_in_chunks_that_are_complete(dataset: Dataset) -> None:
    dataset.spoil({"kind": "gzip_cut", "fraction": 0.9})

    answer = dataset.download(stream=True)
    packed = answer.raw.read(decode_content=False)

    assert answer.raw.chunked
    assert SMALL_CSV.startswith(zlib.decompressobj(31).decompress(packed))
    with pytest.raises(EOFError):
        gzip.decompress(packed)


def test_a_long_body_goes_on_beyond_its_length(dataset: Dataset) -> None:
    dataset.spoil({"kind": "long_body", "fraction": 0.5})
    server = dataset.client.server
    api = urlsplit(server.api_url)
    path = f"{api.path}/organisations/{server.organisation_id}/datasets/{dataset.id}"
    token = dataset.client.http.headers["Authorization"]

    with socket.create_connection(("127.0.0.1", api.port)) as connection:
        host = f"127.0.0.1:{api.port}"
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {token}\r\n\r\n".encode())
        head, _, body = connection.makefile("rb").read().partition(b"\r\n\r\n")

    assert f"content-length: {len(SMALL_CSV) // 2}".encode() in head
    assert body == SMALL_CSV


def test_a_drip_comes_byte_by_byte(dataset: Dataset) -> None:
    dataset.spoil({"kind": "drip", "seconds": 0.05})
    began = time.monotonic()

    with dataset.download(stream=True) as answer:
        first = [answer.raw.read1(100) for _ in range(4)]

    assert first == [bytes([byte]) for byte in SMALL_CSV[:4]]
    assert time.monotonic() - began >= 0.15


def test_an_endless_body_goes_on_until_its_reader_leaves(dataset: Dataset) -> None:
    dataset.spoil({"kind": "endless"})

    with dataset.download(stream=True) as answer:
        body = answer.raw.read(5 << 20)

    header, _, rows = SMALL_CSV.partition(b"\n")
    assert body.startswith(header + b"\n" + rows + rows)
    assert len(body) == 5 << 20
    assert dataset.download().content == SMALL_CSV


def test_a_bomb_unpacks_to_a_hundred_times_what_travels(dataset: Dataset) -> None:
    dataset.spoil({"kind": "bomb"})

    with dataset.download(stream=True) as answer:
        unpacked = zlib.decompressobj(31).decompress(answer.raw.read(50_000, decode_content=False))

    assert unpacked.startswith(SMALL_CSV)
    assert len(unpacked) > 100 * 50_000


@pytest.mark.parametrize("kind", ["cut", "slow"])
def test_a_token_may_end_while_its_download_is_under_way(dataset: Dataset, kind: str) -> None:
    dataset.spoil({"kind": kind, "seconds": 0.01, "expires_token": True})

    answer, _, is_whole = dataset.received()

    assert (answer.status_code, is_whole) == (200, kind == "slow")
    assert dataset.statuses(1) == [401]


def test_a_slow_body_takes_its_time_and_arrives_whole(dataset: Dataset) -> None:
    dataset.spoil({"kind": "slow", "seconds": 0.3})
    began = time.monotonic()

    answer = dataset.download()

    assert answer.content == SMALL_CSV
    assert time.monotonic() - began >= 0.25


def test_an_expired_token_stays_expired(dataset: Dataset) -> None:
    dataset.spoil({"kind": "expire_token"})

    assert dataset.statuses(2) == [401, 401]
    dataset.client.sign_in()
    assert dataset.download().status_code == 200


@pytest.mark.parametrize(
    "faults",
    [
        [{"kind": "earthquake"}],
        [{"kind": "cut", "fraction": 1}],
        [{"kind": "cut", "times": 0}],
        [{"kind": "cut", "frction": 0.5}],
        {"kind": "cut"},
    ],
)
def test_a_fault_that_does_not_exist_is_400(client: Client, dataset_id: str, faults: object) -> None:
    assert client.control("PUT", f"datasets/{dataset_id}/faults", json=faults).status_code == 400


def test_faults_need_a_dataset(client: Client) -> None:
    assert client.control("PUT", "datasets/d-unknown/faults", json=[]).status_code == 404

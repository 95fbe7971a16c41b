from datetime import UTC

import pytest

from qt_pipeline.values import is_dataset_id, is_loopback_host, is_loopback_url, utc_now


@pytest.mark.parametrize(
    "text", ["d-e4tf3yyxerabcvicidv5oyey", "d-w6g5sjf-gvgp4wmexqhykblu", "a", "7", "A_b-C", "x" * 100]
)
def test_ids_as_the_vendor_gives_them_are_ids(text: str) -> None:
    assert is_dataset_id(text)


@pytest.mark.parametrize(
    "text",
    ["", "x" * 101, "-d", "_d", ".", "..", "a/b", "../a", "a b", "a\n", "a,b", "a..b", "a\\b", "é", "a%2e", "a\0", "٣"],
)
def test_what_could_leave_a_folder_a_url_or_a_partition_is_no_id(text: str) -> None:
    assert not is_dataset_id(text)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.1.2.3", "::1", "[::1]"])
def test_this_machine_is_loopback(host: str) -> None:
    assert is_loopback_host(host)


@pytest.mark.parametrize(
    "host", [None, "", "0.0.0.0", "::", "example.com", "localhost.example.com", "127.0.0.1.example.com", "192.168.0.1"]
)
def test_any_other_host_is_not(host: str | None) -> None:
    assert not is_loopback_host(host)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/v1", "http://localhost", "http://user:pw@[::1]:1/x"])
def test_a_url_is_judged_by_its_host(url: str) -> None:
    assert is_loopback_url(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1@example.com/", "http://example.com/127.0.0.1", "127.0.0.1", ""])
def test_a_url_is_not_judged_by_anything_else(url: str) -> None:
    assert not is_loopback_url(url)


def test_the_clock_is_aware_and_in_utc() -> None:
    assert utc_now().tzinfo is UTC

"""What becomes of a download that goes wrong: one row for each fault, each a run against a vendor that does it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime

import pytest

from qt_pipeline.sandbox import Fault
from qt_pipeline.values import utc_now
from qt_pipeline_tests.faults.place import ATTEMPTS, NEW, OLD, Outcome, Place

HEADER = NEW[: NEW.index(b"\n") + 1]
FOR_EVER = None
MEGABYTES = {"max_download_bytes": 4 << 20}


@dataclass(frozen=True)
class Row:
    """A fault, what becomes of it, how many downloads were asked for meanwhile, within which seconds."""

    name: str
    outcome: Outcome
    downloads: int
    faults: Callable[[], tuple[Fault, ...]]
    says: str = ""
    seconds: tuple[float, float] = (0, 15)
    settings: dict[str, float] = field(default_factory=dict)
    csv: bytes = NEW


def fault(kind: str, **how: object) -> Callable[[], tuple[Fault, ...]]:
    return lambda: (Fault.model_validate({"kind": kind, **how}),)


def come_back_in_two_seconds() -> tuple[Fault, ...]:
    # Whole seconds are all that such a date has.
    moment = format_datetime(utc_now() + timedelta(seconds=2), usegmt=True)
    return (Fault(kind="status", status=429, headers={"Retry-After": moment}),)


def well(name: str, faults: Callable[[], tuple[Fault, ...]], downloads: int, **how: object) -> Row:
    return Row(name, Outcome.PUBLISHED, downloads, faults, **how)


def passing(name: str, faults: Callable[[], tuple[Fault, ...]], says: str, downloads: int, **how: object) -> Row:
    return Row(name, Outcome.PASSING, downloads, faults, says, **how)


def lasting(name: str, faults: Callable[[], tuple[Fault, ...]], says: str, downloads: int = 1, **how: object) -> Row:
    return Row(name, Outcome.LASTING, downloads, faults, says, **how)


ROWS = (
    well("token ends, download goes on", fault("slow", seconds=0.2, expires_token=True), 1),
    well("token ends, download breaks", fault("cut", expires_token=True), 3),
    well("401 once", fault("status", status=401), 2),
    lasting("401 with a fresh token, too", fault("status", status=401, times=FOR_EVER), "answered 401", 2),
    well("429, seconds", fault("status", status=429, headers={"Retry-After": "1"}), 2, seconds=(1, 15)),
    well("429, date", come_back_in_two_seconds, 2, seconds=(1, 15)),
    well("503 storm that passes", fault("status", status=503, times=2), 3),
    passing("503 storm that stays", fault("status", status=503, times=FOR_EVER), "answered 503", ATTEMPTS),
    *(well(f"reset at {part:.0%}", fault("reset", fraction=part), 2) for part in (0, 0.5, 0.99)),
    passing("reset each time", fault("reset", times=FOR_EVER), "broke off", ATTEMPTS),
    well("Content-Length too long", fault("short_length"), 2),
    lasting("Content-Length too short", fault("long_body"), "at line 20"),
    well("chunked body cut", fault("cut"), 2),
    passing("chunked body cut each time", fault("cut", times=FOR_EVER), "broke off", ATTEMPTS),
    well("gzip cut within whole chunks", fault("gzip_cut"), 2),
    passing("gzip cut each time", fault("gzip_cut", times=FOR_EVER), "ended before its end", ATTEMPTS),
    lasting("web page with 200", fault("html", times=FOR_EVER), "text/html"),
    lasting("JSON with 200", fault("json", times=FOR_EVER), "application/json"),
    well("204 and then data", fault("not_ready", times=4), 5, settings={"not_ready_seconds": 60}),
    passing("204 for ever", fault("not_ready", times=FOR_EVER), "(204)", 1),
    passing("zero bytes", fault("empty", times=FOR_EVER), "zero bytes", 1),
    lasting("header only", tuple, "a header and no rows", csv=HEADER),
    lasting("403", fault("status", status=403, times=FOR_EVER), "answered 403"),
    lasting("404", fault("status", status=404, times=FOR_EVER), "answered 404"),
    lasting(
        "slow drip",
        fault("drip", seconds=0.05, times=FOR_EVER),
        "QT_MAX_DOWNLOAD_SECONDS",
        seconds=(1, 6),
        settings={"max_download_seconds": 1},
    ),
    lasting("bomb", fault("bomb", times=FOR_EVER), "QT_MAX_DOWNLOAD_BYTES", settings=MEGABYTES),
    lasting("endless body", fault("endless", times=FOR_EVER), "QT_MAX_DOWNLOAD_BYTES", settings=MEGABYTES),
    lasting("too many rows", tuple, "QT_MAX_ROWS", settings={"max_rows": 399}),
)


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_a_bad_download_has_its_outcome_and_the_next_good_one_is_published(sqlite_place: Place, row: Row) -> None:
    place = sqlite_place
    place.serve(row.csv)
    place.spoil(*row.faults())

    took = place.timed_run(**row.settings)

    shortest, longest = row.seconds
    assert shortest <= took.seconds < longest
    assert len(took.downloads) == row.downloads
    assert took.outcome is row.outcome
    if not took.run.success:
        assert row.says in str(took.run.failure.description)
    place.assert_table_is(row.csv if took.run.success else OLD)
    place.assert_nothing_is_left_over()

    place.serve(NEW)
    assert place.timed_run().run.success
    place.assert_table_is(NEW)
    place.assert_nothing_is_left_over()

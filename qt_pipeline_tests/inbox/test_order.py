"""Numbers grow in the order of commits, whoever appends, and what was acknowledged is there: with processes killed."""

import logging
import multiprocessing
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from qt_pipeline.inbox import NewEvent, open_inbox
from qt_pipeline_tests.inbox.places import Place

_log = logging.getLogger(__name__)

KILLS = 6
LIVES_SECONDS = (0.1, 0.6)

# A process that has imported all of it, and forks the appenders: each would take a second to do so.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([__name__])


def append_for_ever(url: str, log: Path) -> None:
    """Say what was committed, and only then go on; groups of many sizes: some commits take longer than others."""
    inbox = open_inbox(url)
    with log.open("a") as said:
        while True:
            event = NewEvent("e", "DatasetUpdated", "d-one", None, b"x" * random.choice([10, 100_000]))
            print(*inbox.append([event] * random.randint(1, 20)), file=said, flush=True)


class Appender:
    """A process that appends until it is killed, and is started again."""

    def __init__(self, url: str, log: Path) -> None:
        self._url = url
        self._log = log
        self._log.touch()
        self._start()

    def kill(self) -> None:
        self._process.kill()
        self._process.join()

    def kill_in_the_midst(self) -> None:
        """Once it has begun to append, it is killed at a moment that nobody knows, and started again."""
        size, deadline = self._log.stat().st_size, time.monotonic() + 60
        while self._log.stat().st_size == size:
            assert time.monotonic() < deadline
            assert self._process.is_alive()
            time.sleep(0.01)
        time.sleep(random.uniform(*LIVES_SECONDS))
        self.kill()
        self._start()

    def acknowledged(self) -> list[int]:
        # A line that was cut off was not said.
        lines = self._log.read_text().splitlines(keepends=True)
        return [int(seq) for line in lines if line.endswith("\n") for seq in line.split()]

    def _start(self) -> None:
        self._process = FORKS.Process(target=append_for_ever, args=(self._url, self._log), daemon=True)
        self._process.start()


@contextmanager
def appending(place: Place, folder: Path) -> Iterator[list[Appender]]:
    appenders = [Appender(place.url, folder / f"{number}.log") for number in range(2)]
    try:
        yield appenders
    finally:
        for appender in appenders:
            appender.kill()


def test_an_event_that_is_seen_later_has_a_number_above_each_that_was_given_out_before(
    place: Place, tmp_path: Path
) -> None:
    inbox = open_inbox(place.url)
    given_out, there, looks = 0, set[int](), 0
    with appending(place, tmp_path) as appenders, ThreadPoolExecutor(1) as killer:
        killing = killer.submit(lambda: [appenders[turn % 2].kill_in_the_midst() for turn in range(KILLS)])
        while not killing.done():
            highest = inbox.highest_seq("d-one")
            now_there = {int(seq) for (seq,) in place.query("SELECT seq FROM _qt_events")}
            late = {seq for seq in now_there - there if seq <= given_out}
            assert not late, f"{late} came after {given_out} had been given out"
            given_out, there, looks = highest, now_there, looks + 1
        killing.result()
    stored = {int(seq) for (seq,) in place.query("SELECT seq FROM _qt_events")}
    acknowledged = [seq for appender in appenders for seq in appender.acknowledged()]
    _log.info("%s: %d events acknowledged, %d kills, %d looks", place.name, len(acknowledged), KILLS + 2, looks)
    assert len(acknowledged) > KILLS
    assert looks > KILLS
    assert len(acknowledged) == len(set(acknowledged))
    assert set(acknowledged) <= stored
    inbox.close()

"""A relay under load that is killed again and again: what it acknowledged must be in the inbox, under that number.

Here: the load, the kills, and what is compared afterwards. Not here: how gently it may end (see the relay's tests).
"""

import asyncio
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from qt_pipeline_tests.relay.posting import Client, event
from qt_pipeline_tests.relay.running import SERVE, port_in

_CLIENTS = 32
_RETRY_SECONDS = 0.02
_LOOK_SECONDS = 0.001
_LONGEST_DELAY_SECONDS = 0.02
_ACCEPTED = 202


@dataclass(frozen=True, slots=True)
class Figures:
    """What became of the events of one run.

    Attributes:
        unanswered: requests whose connection broke before an answer came, because of a kill.
        missing: acknowledged events that are not in the inbox under the very number, with the very bytes.
        absent: events that are not in the inbox at all after every one was acknowledged.
        doubled: rows beyond one for each event: committed, and then sent again because no answer had come.
    """

    seed: int
    events: int
    kills: int
    acknowledged: int
    unanswered: int
    missing: int
    absent: int
    doubled: int
    seconds: float


@dataclass
class _Load:
    port: int
    bodies: Iterator[bytes]
    acknowledged: dict[int, bytes] = field(default_factory=dict)
    unanswered: int = 0

    async def post_all(self) -> None:
        """One client: post the next event until it is acknowledged."""
        client: Client | None = None
        for body in self.bodies:
            while True:
                try:
                    client = client or await Client.connect(self.port)
                except OSError:
                    await asyncio.sleep(_RETRY_SECONDS)
                    continue
                try:
                    answer = await client.post(body)
                except OSError:
                    self.unanswered += 1
                    client = None
                    continue
                if answer.status == _ACCEPTED:
                    break
                await asyncio.sleep(_RETRY_SECONDS)
            assert answer.sequence not in self.acknowledged, f"two events were given the number {answer.sequence}"
            self.acknowledged[answer.sequence] = body
        if client is not None:
            client.close()


# Imported already, it begins when its input ends: most of a start is imports, and nobody can be killed meanwhile.
_STAND_BY = SERVE.replace("url, port =", "sys.stdin.read()\nurl, port =")


class _MortalRelay:
    """A relay process that comes back on its port; the next one stands by."""

    def __init__(self, folder: Path) -> None:
        self.inbox_file = folder / "inbox.db"
        self._log = folder / "relay.log"
        self._living = self._stand_by(0)
        _begin(self._living)
        self.port = port_in(self._log, self._living)
        self._next = self._stand_by(self.port)

    def kill(self) -> None:
        """End it by SIGKILL."""
        self._living.kill()
        self._living.wait()

    def restart(self) -> None:
        """Let the next one begin."""
        self._living = self._next
        _begin(self._living)
        self._next = self._stand_by(self.port)

    def end(self) -> None:
        """End all of it."""
        self.kill()
        _begin(self._next)
        self._next.kill()
        self._next.wait()

    def _stand_by(self, port: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", _STAND_BY, f"sqlite:///{self.inbox_file}", str(port)]
        with self._log.open("ab") as log:
            return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)


def _begin(relay: subprocess.Popen[bytes]) -> None:
    assert relay.stdin is not None
    relay.stdin.close()


def run(*, events: int, kills: int, seed: int | None = None) -> Figures:
    """Post so many events, kill the relay so many times meanwhile, print the figures and return them."""
    seed = Random().randrange(2**32) if seed is None else seed
    print(f"{events} events, {kills} kills, seed {seed}", flush=True)  # noqa: T201  # before anything can go wrong
    bodies = [event(f"event-{number}") for number in range(events)]
    with TemporaryDirectory(prefix="qt-kills-") as folder:
        relay = _MortalRelay(Path(folder))
        load = _Load(relay.port, iter(bodies))
        began = time.monotonic()
        try:
            asyncio.run(_drive(load, relay, events, kills, Random(seed)))
        finally:
            relay.end()
        with closing(sqlite3.connect(relay.inbox_file)) as connection:
            stored = dict(connection.execute("SELECT seq, body FROM _qt_events").fetchall())
    figures = Figures(
        seed=seed,
        events=events,
        kills=kills,
        acknowledged=len(load.acknowledged),
        unanswered=load.unanswered,
        missing=sum(stored.get(sequence) != body for sequence, body in load.acknowledged.items()),
        absent=len(set(bodies) - set(stored.values())),
        doubled=len(stored) - events,
        seconds=round(time.monotonic() - began, 1),
    )
    print(figures)  # noqa: T201  # figures are what this is for
    return figures


async def _drive(load: _Load, relay: _MortalRelay, events: int, kills: int, random: Random) -> None:
    clients = [asyncio.create_task(load.post_all()) for _ in range(_CLIENTS)]
    # Counted in events, so that each kill falls into the load; a moment more or less decides where in a commit.
    for moment in sorted(random.sample(range(1, events - 2 * _CLIENTS), kills)):
        while len(load.acknowledged) < moment:
            await asyncio.wait(clients, timeout=_LOOK_SECONDS, return_when=asyncio.FIRST_EXCEPTION)
            assert not any(client.done() for client in clients), "the load ended before the kills"
        await asyncio.sleep(random.uniform(0, _LONGEST_DELAY_SECONDS))
        relay.kill()
        relay.restart()
    await asyncio.gather(*clients)

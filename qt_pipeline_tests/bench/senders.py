"""`python -m qt_pipeline_tests.bench.senders`: load for a relay, from a process of its own; prints one line of JSON."""

import asyncio
import json
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from itertools import count

from qt_pipeline_tests.relay.posting import Client, event

_ACCEPTED = 202


@dataclass(frozen=True, slots=True)
class Load:
    """What a relay did under load.

    Attributes:
        accepted: events answered with 202. Any other answer ends the load.
        slowest_second: events of the second in which the fewest were answered.
        p50, p99, longest: milliseconds to the answer; at a rate, from the moment at which the event was due.
    """

    accepted: int
    per_second: float
    slowest_second: int
    p50: float
    p99: float
    longest: float


async def send(port: int, *, connections: int, seconds: float, rate: float) -> Load:
    """Post events over this many connections, each as soon as the last was answered, or at `rate` a second in all."""
    loop = asyncio.get_running_loop()
    clients = [await Client.connect(port) for _ in range(connections)]
    numbers = count()
    waits: list[float] = []
    answered: Counter[int] = Counter()
    began = loop.time()
    end = began + seconds

    async def post_all(client: Client, turn: int) -> None:
        due = began + turn / rate if rate else began
        while (now := loop.time()) < end and due < end:
            if rate and due > now:
                await asyncio.sleep(due - now)
            sent = due if rate else now
            answer = await client.post(event(f"event-{next(numbers)}"))
            if answer.status != _ACCEPTED:
                raise RuntimeError(f"the relay answered {answer.status}")
            waits.append(loop.time() - sent)
            answered[int(loop.time() - began)] += 1
            due += connections / rate if rate else 0

    await asyncio.gather(*(post_all(client, turn) for turn, client in enumerate(clients)))
    elapsed = loop.time() - began
    for client in clients:
        client.close()
    waits.sort()
    return Load(
        accepted=len(waits),
        per_second=len(waits) / elapsed,
        slowest_second=min(answered[second] for second in range(int(seconds))),
        p50=1000 * waits[len(waits) // 2],
        p99=1000 * waits[len(waits) * 99 // 100],
        longest=1000 * waits[-1],
    )


if __name__ == "__main__":
    to_port, over, during, at = sys.argv[1:]
    sent = asyncio.run(send(int(to_port), connections=int(over), seconds=float(during), rate=float(at)))
    print(json.dumps(asdict(sent)))  # noqa: T201  # read by the benchmark

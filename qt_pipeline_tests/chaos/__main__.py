"""`python -m qt_pipeline_tests.chaos`: what breaks things on purpose, in its large form; each prints figures."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from random import randrange

from qt_pipeline_tests import lives
from qt_pipeline_tests.chaos import bursts, relay_kills
from qt_pipeline_tests.oracle.run import run as run_loads


def main() -> None:
    """Run one of them."""
    parser = ArgumentParser(prog="python -m qt_pipeline_tests.chaos", description=__doc__)
    commands = parser.add_subparsers(required=True)
    relay = commands.add_parser("relay", help="a relay that is killed again and again under load")
    relay.add_argument("--events", type=int, default=100_000)
    relay.add_argument("--kills", type=int, default=200)
    relay.add_argument("--seed", type=int)
    relay.set_defaults(run=lambda given: relay_kills.run(events=given.events, kills=given.kills, seed=given.seed))
    burst = commands.add_parser("bursts", help="many events for many datasets through Dagster")
    burst.add_argument("--events", type=int, default=10_000)
    burst.add_argument("--datasets", type=int, default=500)
    burst.set_defaults(run=lambda given: bursts.run(events=given.events, datasets=given.datasets))
    life = commands.add_parser("lives", help="whole lives of an inbox, with crashes at every point")
    life.add_argument("--lives", type=int, default=5_000)
    life.add_argument("--steps", type=int, default=50)
    life.set_defaults(run=lambda given: lives.run(lives=given.lives, steps=given.steps))
    loads = commands.add_parser("loads", help="random files and lives of datasets against an oracle of their own")
    loads.add_argument("--minutes", type=float, default=60)
    loads.add_argument("--seed", default=str(randrange(10**9)))
    loads.add_argument("--log", type=Path, help="also write the figures of each minute there")
    loads.set_defaults(
        run=lambda given: sys.exit(bool(run_loads(minutes=given.minutes, seed=given.seed, log=given.log).disagreements))
    )
    given = parser.parse_args()
    given.run(given)


main()

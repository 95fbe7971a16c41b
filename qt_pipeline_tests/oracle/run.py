"""Many lives, one after the other: what they did is counted, what they disagree about is made short and printed.

Here: seeds, targets, the figures. Not here: one life (see stage).
"""

import logging
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from qt_pipeline_tests.oracle.generate import large_file, life
from qt_pipeline_tests.oracle.life import Life, Load
from qt_pipeline_tests.oracle.shrink import shrink
from qt_pipeline_tests.oracle.stage import Verdict, lead
from qt_pipeline_tests.oracle.targets import Postgres, Sqlite, Target
from qt_pipeline_tests.postgres import running_postgres

_MIB = 1 << 20
_SHOWN_LIVES = 10
"""In one of so many lives, `line` and `diff` are asked."""
_LARGE_LIVES = 400
"""One of so many lives has files of several MiB, read in the product's own blocks."""


@dataclass
class Disagreement:
    """What the oracle and the product see differently: the first of its kind, in short."""

    seed: str
    target: str
    kind: str
    what: str
    life: Life
    times: int = 1

    def __str__(self) -> str:
        return f"{self.kind} on {self.target} (seed {self.seed}, seen {self.times} times): {self.what}\n{self.life}"


@dataclass
class Report:
    """The figures of a run."""

    seconds: float = 0.0
    count: Counter[str] = field(default_factory=Counter[str])
    disagreements: dict[str, Disagreement] = field(default_factory=dict[str, Disagreement])

    def figures(self) -> str:
        count = self.count
        total = sum(found.times for found in self.disagreements.values())
        lives = f"{count['lives']:,} lives ({count['lives on postgres']:,} on PostgreSQL)"
        cells = f"{count['cells in files']:,} cells in published files, {count['cells']:,} compared"
        ends = ", ".join(f"{count[f'loads {end}']:,} {end}" for end in ("published", "refused", "unchanged"))
        asked = ", ".join(f"{count[what]:,} {what}" for what in ("dry runs", "restores", "line", "diff", "by hand"))
        left = f"{count['expected open']:,} loads whose end the documents leave open"
        wrong = f"{total:,} disagreements of {len(self.disagreements):,} kinds in {self.seconds:,.0f} s"
        return f"{lives}; {count['loads']:,} loads: {ends}; {cells}; {asked}; {left}; {wrong}."


def openers(server: str) -> dict[str, Callable[[Path], Target]]:
    """How each target is opened: a file, or a schema of its own on the PostgreSQL at the URL `server`."""
    numbers = iter(range(10**9))
    return {"sqlite": Sqlite, "postgres": lambda _: Postgres(server, f"life {next(numbers)}")}


def run_one(
    seed: str, number: int, opener: Callable[[Path], Target], target: str, report: Report
) -> Disagreement | None:
    """Lead the life of a seed and a number; a disagreement is made short if it is the first of its kind."""
    made = make(seed, number, target)
    verdict = lead(made, opener, shows=number % _SHOWN_LIVES == 0)
    report.count += verdict.count
    report.count["lives"] += 1
    report.count[f"lives on {target}"] += 1
    if verdict.wrong is None:
        return None
    signature = signature_of(verdict, target)
    if signature in report.disagreements:
        report.disagreements[signature].times += 1
        return None
    short = made.but(made.steps[: verdict.step + 1])

    def fails(life_: Life) -> bool:
        try:
            again = lead(life_, opener, shows=number % _SHOWN_LIVES == 0)
        except Exception:  # noqa: BLE001  # a life that makes no sense is not shorter
            return False
        return again.wrong is not None and signature_of(again, target) == signature

    large = sum(len(step.data) for step in made.steps if isinstance(step, Load)) > _MIB
    short = shrink(short, fails, tries=20 if large else 150)
    last = lead(short, opener, shows=number % _SHOWN_LIVES == 0)
    what = last.wrong.what if last.wrong else verdict.wrong.what
    found = Disagreement(f"{seed}:{number}", target, verdict.wrong.kind, what, short)
    report.disagreements[signature] = found
    return found


def make(seed: str, number: int, target: str) -> Life:
    """The life of a seed and a number."""
    rng = Random(f"{seed}:{number}")
    if number % _LARGE_LIVES == _LARGE_LIVES // 2:
        return Life(target, 0, (Load(0, large_file(rng, rng.randint(2, 5) * _MIB, _MIB)),))
    return life(rng, target)


def signature_of(verdict: Verdict, target: str) -> str:
    """What kind of disagreement it is: its kind and its words, without names, values and numbers."""
    assert verdict.wrong is not None
    what = verdict.wrong.what
    if verdict.wrong.kind in {"cell", "rows"}:
        what = " ".join(re.findall(r"one too many|missing|two rows|\(\w+\)", what)[:1])
    words = re.sub(r"'(?:[^'\\]|\\.)*'|\"[^\"]*\"|[0-9]+|/\S+", "", what)
    return f"{target} {verdict.during} {verdict.wrong.kind} {words[:120]}"


def run(*, minutes: float, seed: str, log: Path | None = None) -> Report:
    """Lead lives on both targets for so long; prints each new disagreement and, every minute, the figures."""
    logging.disable(logging.WARNING)
    report = Report()
    began = told = time.monotonic()
    number = 0

    def say(text: str) -> None:
        print(text, flush=True)  # noqa: T201
        if log is not None:
            with log.open("a", encoding="utf-8") as file:
                file.write(text + "\n")

    say(f"Seed {seed}.")
    with tempfile.TemporaryDirectory() as folder, running_postgres(Path(folder)) as server:
        open_by = openers(server)
        while time.monotonic() - began < minutes * 60:
            target = "postgres" if number % 3 == 2 else "sqlite"
            found = run_one(seed, number, open_by[target], target, report)
            number += 1
            report.seconds = time.monotonic() - began
            if found is not None:
                say(str(found))
            if time.monotonic() - told > 60:
                told = time.monotonic()
                say(report.figures())
    say(report.figures())
    for key, times in sorted(report.count.items()):
        say(f"  {key}: {times:,}")
    return report

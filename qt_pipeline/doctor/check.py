"""A check, and its inputs: settings and catalog.

Here: the types, with time limits. Not here: the checks.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from qt_pipeline.catalog import Catalog
from qt_pipeline.doctor.finding import Area, Finding
from qt_pipeline.settings import Settings, SettingsReport


@dataclass(frozen=True, slots=True)
class CheckContext:
    """The inputs of checks. `catalog` is None if it cannot be read."""

    report: SettingsReport
    catalog: Catalog | None

    @property
    def settings(self) -> Settings:
        """The settings, with defaults instead of invalid values; checks that need an invalid setting are skipped."""
        return self.report.settings


@dataclass(frozen=True, slots=True)
class Check:
    """A check of one or more `areas`, with a time limit of `seconds`.

    It is skipped if one of the settings that it `needs` is invalid. `late` is the hint after a timeout.
    """

    run: Callable[[CheckContext], Iterator[Finding]]
    areas: tuple[Area, ...]
    needs: tuple[str, ...] = ()
    seconds: float = 30
    late: str = "Run it again; if it repeats, check the network in between."

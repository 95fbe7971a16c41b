"""What a check is given, and what a check is.

Here: the settings and the catalog as they were found, and a check's bounds. Not here: the checks.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from qt_pipeline.catalog import Catalog
from qt_pipeline.doctor.finding import Area, Finding
from qt_pipeline.settings import Settings, SettingsReport


@dataclass(frozen=True, slots=True)
class CheckContext:
    """What there is to look at. `catalog` is None where it cannot be read."""

    report: SettingsReport
    catalog: Catalog | None

    @property
    def settings(self) -> Settings:
        """The settings, with defaults in the place of wrong ones: a check that `needs` such a one is not made."""
        return self.report.settings


@dataclass(frozen=True, slots=True)
class Check:
    """One look at one or more areas, `areas`, that is given `seconds`.

    It is not made if one of the settings that it `needs` is wrong. `late` is what to do when its time is over.
    """

    run: Callable[[CheckContext], Iterator[Finding]]
    areas: tuple[Area, ...]
    needs: tuple[str, ...] = ()
    seconds: float = 30
    late: str = "Run it again; if it repeats, look at the network in between."

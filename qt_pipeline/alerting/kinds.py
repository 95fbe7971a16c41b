"""The kinds of alerts: a stable word for each, what it means, and what a person does about it.

Here: all words that do not hang on what has happened. Not here: when an alert is due (see incidents), how a message is
put together (see messages).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from qt_pipeline.errors import FailureScope


class AlertKind(StrEnum):
    """What an alert is about, as the word that ends its message and that the documents explain."""

    NOT_LOADED = "does-not-load"
    TARGET = "target"
    QUANTEMPLATE = "quantemplate"
    LANDING = "landing"
    INBOX = "inbox"
    CONFIGURATION = "configuration"
    STALE = "stale"
    DRIFT = "drift"


@dataclass(frozen=True, slots=True)
class AlertSpec:
    """What a kind of alert says, means and asks for.

    `headline` and `recovery` are said of a dataset by its name, or of what all datasets share; a notice, which nothing
    ends, has no `recovery`.
    """

    headline: str
    recovery: str
    meaning: str
    hint: str
    is_shared: bool = False


KINDS: Mapping[AlertKind, AlertSpec] = {
    AlertKind.NOT_LOADED: AlertSpec(
        headline="does not load",
        recovery="loads again",
        meaning="The newest run of the dataset failed for a reason of its own, or events of it are parked: its table "
        "keeps the rows it had. It ends when a run succeeds and no event of the dataset is parked.",
        hint="Open the run: its first lines say what happened and what to do. Then replay the events that are parked.",
    ),
    AlertKind.TARGET: AlertSpec(
        headline="The target database fails",
        recovery="The target database is well again",
        meaning="Runs fail because the target cannot be reached, does not let the login in, or lacks space or rights: "
        "one alert for all datasets. It ends when each of them has loaded again, or after an hour in which others "
        "loaded and none failed of it: those that still do not load get alerts of their own.",
        hint="Look at the database server; `qt-pipeline doctor` tries what a load needs. Then replay the events that "
        "are parked.",
        is_shared=True,
    ),
    AlertKind.QUANTEMPLATE: AlertSpec(
        headline="Quantemplate fails",
        recovery="Quantemplate is well again",
        meaning="Runs fail because Quantemplate's API or token endpoint cannot be reached, or refuses the API user: "
        "one alert for all datasets, which ends as `target` does.",
        hint="Check QT_CLIENT_ID and QT_CLIENT_SECRET with `qt-pipeline doctor`, the network, and Quantemplate itself. "
        "Then replay the events that are parked.",
        is_shared=True,
    ),
    AlertKind.LANDING: AlertSpec(
        headline="The landing fails",
        recovery="The landing is well again",
        meaning="Runs fail because downloads cannot be kept: the folder or blob store of QT_LANDING_URL is full, "
        "read-only or out of reach. One alert for all datasets, which ends as `target` does.",
        hint="Make space or give rights there. Then replay the events that are parked.",
        is_shared=True,
    ),
    AlertKind.INBOX: AlertSpec(
        headline="The inbox of events fails",
        recovery="The inbox of events is well again",
        meaning="The inbox cannot be read or written, by runs or by the alerts themselves: the relay answers 503, and "
        "no run is asked for. It ends when the inbox answers and each dataset that it hit has loaded again.",
        hint="Check the disk, or the server, of QT_INBOX_URL.",
        is_shared=True,
    ),
    AlertKind.CONFIGURATION: AlertSpec(
        headline="A setting or the catalog is wrong",
        recovery="Settings and catalog are well again",
        meaning="Settings or datasets.yaml are missing something or cannot be read: runs fail, or none is asked for. "
        "One alert for all datasets, which ends as `target` does.",
        hint="Correct what the message names, in the environment, in .env or in datasets.yaml.",
        is_shared=True,
    ),
    AlertKind.STALE: AlertSpec(
        headline="is stale",
        recovery="is up to date again",
        meaning="The newest download that the table shows is older than the catalog's `fresh_within_hours`. It is not "
        "told of a dataset whose runs fail, which has an alert already.",
        hint="See in Dagster's UI whether the sensor and the schedule run and whether the relay gets events: "
        "`qt-pipeline events --dataset-id ID` shows the last ones.",
    ),
    AlertKind.DRIFT: AlertSpec(
        headline="has changed its columns",
        recovery="",
        meaning="A load was published whose file had other columns or types than the one before, and the dataset's "
        "policy accepts that: one notice for each load. A difference that the policy refuses is `does-not-load`.",
        hint="Tell those who read the table. To refuse such changes, set `policy: freeze` for the dataset.",
    ),
}

SHARED: Mapping[FailureScope, AlertKind] = {
    FailureScope.TARGET: AlertKind.TARGET,
    FailureScope.QUANTEMPLATE: AlertKind.QUANTEMPLATE,
    FailureScope.LANDING: AlertKind.LANDING,
    FailureScope.INBOX: AlertKind.INBOX,
    FailureScope.CONFIGURATION: AlertKind.CONFIGURATION,
}
"""Which incident an error belongs to that is not about one dataset."""

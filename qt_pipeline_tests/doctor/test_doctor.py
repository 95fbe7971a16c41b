"""What holds for every check, whatever it looks at."""

import threading
from collections.abc import Iterator

import pytest

from qt_pipeline.doctor import Area, Finding, FindingState, run_checks
from qt_pipeline.doctor.check import Check, CheckContext
from qt_pipeline.sandbox import Fault
from qt_pipeline.settings import report_settings
from qt_pipeline_tests.doctor.conftest import Place


def test_where_all_is_well_nothing_is_to_be_done(place: Place) -> None:
    findings = place.look()
    assert [finding for finding in findings if finding.state is not FindingState.OK] == []
    assert [finding for finding in findings if finding.hint] == []
    assert list(dict.fromkeys(finding.area for finding in findings)) == list(Area)


def test_a_look_leaves_no_trace_but_inbox_and_ledger(place: Place) -> None:
    place.look()
    left = {path.name for path in (place.folder / "state").rglob("*")}
    assert {name.removesuffix("-wal").removesuffix("-shm").removesuffix(".lock") for name in left} == {
        *("inbox.db", "warehouse.db", "landing")
    }
    assert list((place.folder / "state" / "landing").iterdir()) == []


def test_a_download_is_closed_after_its_beginning(place: Place) -> None:
    place.sandbox.state.set_faults("d-small", [Fault(kind="endless", times=None)])
    assert {finding.state for finding in place.look()} == {FindingState.OK}


@pytest.mark.usefixtures("place")
def test_every_look_is_made_when_one_goes_wrong() -> None:
    def explodes(_: CheckContext) -> Iterator[Finding]:
        yield Finding(Area.TOKEN, "token", FindingState.OK, "So far it is well.")
        raise ZeroDivisionError("canary")

    def goes_on(_: CheckContext) -> Iterator[Finding]:
        yield Finding(Area.TARGET, "target", FindingState.OK, "It is well.")

    _, *found = run_checks(report_settings(), [Check(explodes, (Area.TOKEN,)), Check(goes_on, (Area.TARGET,))])
    assert [(one.area, one.state) for one in found] == [
        (Area.TOKEN, FindingState.OK),
        (Area.TOKEN, FindingState.FAILURE),
        (Area.TARGET, FindingState.OK),
    ]
    assert "ZeroDivisionError" in found[1].message
    assert "canary" not in str(found)


@pytest.mark.usefixtures("place")
def test_a_look_that_does_not_end_is_left() -> None:
    over = threading.Event()

    def hangs(_: CheckContext) -> Iterator[Finding]:
        over.wait(60)
        yield Finding(Area.TARGET, "target", FindingState.OK, "Too late.")

    _, found = run_checks(report_settings(), [Check(hangs, (Area.TARGET,), seconds=0.05, late="Look at the server.")])
    over.set()
    assert (found.state, found.hint) == (FindingState.FAILURE, "Look at the server.")
    assert "did not finish within" in found.message


def test_what_needs_a_wrong_setting_is_left_out_and_says_which(place: Place) -> None:
    place.settings |= {"QT_WAREHOUSE_URL": "nonsense", "QT_API_URL": "ftp://x"}
    place.write()
    skipped = {finding.area: finding.message for finding in place.look() if finding.state is FindingState.SKIPPED}
    assert skipped == {
        Area.TARGET: "QT_WAREHOUSE_URL must be fixed first.",
        **dict.fromkeys((Area.TOKEN, Area.ORGANISATION, Area.DATASETS), "QT_API_URL must be fixed first."),
    }


def test_without_any_setting_it_says_what_is_missing(place: Place) -> None:
    # The project's own folder is out of reach of a test.
    place.settings = {name: place.settings[name] for name in ("QT_RELAY_URL", "QT_DAGSTER_URL")}
    place.env_file.unlink()
    place.write()
    findings = place.look()
    failed = [(finding.area, finding.subject) for finding in findings if finding.state is FindingState.FAILURE]
    assert failed == [
        (Area.TOKEN, "QT_CLIENT_ID"),
        (Area.TOKEN, "QT_CLIENT_SECRET"),
        (Area.ORGANISATION, "QT_ORGANISATION_ID"),
    ]
    assert all("qt-pipeline init" in finding.hint for finding in findings if finding.state is FindingState.FAILURE)


SECRETS = {
    "QT_CLIENT_SECRET": "canary-of-the-client",
    "QT_API_URL": "https://user:canary-api@127.0.0.1:1/v1?sig=canary-api-sig",
    "QT_TOKEN_URL": "https://user:canary-token@127.0.0.1:1/token?sig=canary-token-sig",
    "QT_RELAY_TOKENS": "canary-relay-token-1,canary-relay-token-2",
    "QT_RELAY_QUEUE_URL": "https://user:canary-queue@127.0.0.1:1/queue?sv=1&sig=canary%2Bqueue-sig",
    "QT_RELAY_URL": "http://user:canary-of-relay@127.0.0.1:1",
    "QT_DAGSTER_URL": "http://user:canary-dagster@127.0.0.1:1",
    "QT_ALERT_URLS": "canaryservice://canary-alert slack://canary-slack mailto://canary:canary-mail@example.invalid",
    "QT_LANDING_URL": "https://user:canary-landing@127.0.0.1:1/landing?sig=canary-landing-sig",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://user:canary-telemetry@127.0.0.1:1",
}
DATABASES = (
    "postgresql://user:canary-database@127.0.0.1:1/db?options=canary-database-options",
    "mssql+pyodbc://user:canary-database@127.0.0.1:1/db",
    "mssql+pyodbc:///?odbc_connect=DRIVER%3Dx%3BPWD%3Dcanary-database",
    "mssql+mssqlpython://user:canary-database@127.0.0.1:1/db?Encrypt=no",
    "mysql://user:canary-database@127.0.0.1:1/db",
    "nonsense://user:canary-database@127.0.0.1:1/db",
    "postgresql://user:canary-database@127.0.0.1:canary-port/db",
    "user:canary-database@host",
)


@pytest.mark.parametrize("database", DATABASES)
def test_no_secret_is_told(place: Place, database: str) -> None:
    place.settings |= SECRETS | {"QT_WAREHOUSE_URL": database, "QT_INBOX_URL": database}
    place.write()
    told = str(place.look())
    assert "canary" not in told.replace("canaryservice", "")


def test_no_secret_of_a_wrong_setting_is_told(place: Place) -> None:
    wrong = {name: "canary such as nothing can be" for name in place.settings if name != "QT_CATALOG"}
    place.settings |= wrong | {"QT_MAX_ROWS": "canary", "QT_ORGANISATION_ID": "c-x", "QT_CLIENT_ID": "x"}
    place.write()
    assert "canary" not in str(place.look())

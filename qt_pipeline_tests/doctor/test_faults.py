"""Faults, each planted alone in a place where all else is well: the doctor finds it and says what to do next."""

from collections.abc import Callable
from datetime import timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import mssql_python
import pytest
import yaml
from sqlalchemy import event

from qt_pipeline.doctor import Area, FindingState, mounts, storage, vendor
from qt_pipeline.sandbox import Fault
from qt_pipeline.sandbox.faults import FaultKind
from qt_pipeline.values import utc_now
from qt_pipeline.warehouse import sqlite
from qt_pipeline_tests.doctor.conftest import DATASET, OTHER, Place, closed_port, only

Plant = Callable[[Place], None]
Planted = tuple[str, Plant, Area, FindingState, str, str]

OK, WARNING, FAILURE = FindingState.OK, FindingState.WARNING, FindingState.FAILURE


def setting(name: str, value: str) -> Plant:
    def plant(place: Place) -> None:
        place.settings[name] = value
        place.write()

    return plant


def without(name: str) -> Plant:
    def plant(place: Place) -> None:
        place.env_file.unlink()
        del place.settings[name]
        place.write()

    return plant


def line(text: str) -> Plant:
    """One more line in the file of settings."""

    def plant(place: Place) -> None:
        place.env_file.write_text(f"{place.env_file.read_text()}{text}\n")

    return plant


def nowhere(name: str, path: str = "") -> Plant:
    """The address of a server that nobody serves."""
    return setting(name, f"http://127.0.0.1:{closed_port()}{path}")


def in_environment(name: str, value: str) -> Plant:
    return lambda place: place.monkeypatch.setenv(name, value)


def readable_by_others(place: Place) -> None:
    place.env_file.chmod(0o644)


def no_text(place: Place) -> None:
    elsewhere(place)
    place.env_file.write_bytes(b"QT_CLIENT_ID=\xff\xfe\n")


def elsewhere(place: Place) -> None:
    """What the file said and must not be as it is by default: others may listen there."""
    for name in ("QT_RELAY_URL", "QT_DAGSTER_URL"):
        place.monkeypatch.setenv(name, place.settings[name])


def no_env_file(place: Place) -> None:
    elsewhere(place)
    place.env_file.unlink()


def catalog(text: str) -> Plant:
    return lambda place: (place.folder / "datasets.yaml").write_text(text) and None


def dataset(**said: object) -> Plant:
    def plant(place: Place) -> None:
        place.dataset(**said)
        place.write()

    return plant


def unknown_dataset(place: Place) -> None:
    place.catalog["datasets"] = {DATASET: {}, "d-unknown": {"name": "Unknown"}}
    place.write()


def download(kind: FaultKind, **said: Any) -> Plant:
    """A fault of one dataset's downloads, beside another whose downloads are well."""

    def plant(place: Place) -> None:
        place.catalog["datasets"] = {DATASET: {}, OTHER: {"name": "Other"}}
        place.write()
        place.sandbox.state.set_faults(OTHER, [Fault(kind=kind, times=None, **said)])

    return plant


def slow(place: Place) -> None:
    place.monkeypatch.setattr(vendor, "_FIRST_SECONDS", 0.2)
    download("drip", seconds=0.05)(place)


class Served:
    """A server that answers everything in the same way, until the process of the tests ends."""

    def __init__(self, status: int, body: bytes = b"", **headers: str) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response_only(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET  # noqa: N815  # the library's name

            def log_message(self, *_: Any) -> None:
                """Silence."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        return self.server.server_address[1]


def served(name: str, status: int, body: bytes = b"") -> Plant:
    def plant(place: Place) -> None:
        setting(name, f"http://127.0.0.1:{Served(status, body).port}")(place)

    return plant


def clock_ahead(place: Place) -> None:
    token = b'{"access_token": "t", "token_type": "Bearer", "expires_in": 300}'
    date = format_datetime(utc_now() - timedelta(hours=1), usegmt=True)
    answers = Served(200, token, Date=date)
    setting("QT_TOKEN_URL", f"http://127.0.0.1:{answers.port}/token")(place)
    # This token opens nothing: of the datasets nothing is to be seen here.
    place.catalog.clear()
    place.write()


def no_tls(place: Place) -> None:
    setting("QT_TOKEN_URL", f"https://127.0.0.1:{Served(200).port}/token")(place)


def file_for_folder(place: Place) -> None:
    (place.folder / "a-file").write_text("")
    setting("QT_LANDING_URL", str(place.folder / "a-file" / "landing"))(place)


def little_room(place: Place) -> None:
    place.monkeypatch.setattr(storage, "_LITTLE_BYTES", 10**18)


def no_database(name: str) -> Plant:
    def plant(place: Place) -> None:
        (place.folder / "no.db").write_bytes(b"This is no database at all. " * 100)
        setting(name, f"sqlite:///{place.folder}/no.db")(place)

    return plant


def on_a_share(name: str, file: str) -> Plant:
    """A table of mounts that says so: none can be mounted here."""

    def plant(place: Place) -> None:
        table = place.folder / "mountinfo"
        share = place.folder / "share"
        table.write_text(f"22 1 0:21 / / rw - ext4 /dev/sda rw\n23 22 0:31 / {share} rw - cifs //server/share rw\n")
        place.monkeypatch.setattr(mounts, "_MOUNTS", table)
        setting(name, f"sqlite:///{share}/{file}")(place)

    return plant


def without_wal(place: Place) -> None:
    def rollback_journal(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA journal_mode = DELETE")

    def engine(*arguments: Any, **options: Any) -> Any:
        made = sqlite_engine(*arguments, **options)
        event.listen(made, "connect", rollback_journal)
        return made

    sqlite_engine = sqlite.sqlite_engine
    place.monkeypatch.setattr(sqlite, "sqlite_engine", engine)


def code_that_fails(place: Place) -> None:
    place.dagster.load_error = "dagster.ConfigurationError: QT_CATALOG is wrong\nand more"


def unguarded(place: Place) -> None:
    place.dagster.guarded = False


def daemon_gone(place: Place) -> None:
    place.dagster.silent = dict.fromkeys(place.dagster.silent, 4000.0)


def daemon_never_there(place: Place) -> None:
    place.dagster.silent = dict.fromkeys(place.dagster.silent, None)


def sensors_stuck(place: Place) -> None:
    place.dagster.silent["SENSOR"] = 900.0


def scheduler_fails(place: Place) -> None:
    place.dagster.errors["SCHEDULER"] = "sqlite3.OperationalError: disk I/O error"


def sensor_off(place: Place) -> None:
    place.dagster.sensor = "STOPPED"


def library_missing(place: Place) -> None:
    place.monkeypatch.setattr(
        mssql_python, "get_native_provider_info", lambda: {"driver_path": "/nowhere/libnowhere.so"}
    )
    setting("QT_WAREHOUSE_URL", "mssql://u@h/d")(place)


TWO_ON_ONE_TABLE = yaml.safe_dump({"datasets": {"d-small": {"table": "paid"}, "d-other": {"table": "PAID"}}})
PROXY_PAGE = b"<html>Sign in</html>"

# What it is, how it is planted, where it is found and how it is called, words of the finding and of the next step.
FAULTS: list[Planted] = [
    *[
        (
            "a wrong value",
            setting("QT_READ_TIMEOUT_SECONDS", "soon"),
            Area.SETTINGS,
            FAILURE,
            "number",
            "Correct it in",
        ),
        ("a slip in a name", line("QT_CLIENT_SECRTE=x"), Area.SETTINGS, WARNING, "Unknown setting", "QT_CLIENT_SECRET"),
        ("a name nobody knows", line("QT_HAT=x"), Area.SETTINGS, WARNING, "Unknown setting", "Remove it"),
        (
            *("a slip in the environment", in_environment("QT_RELAY_TOKEN", "x")),
            *(Area.SETTINGS, WARNING, "Unknown setting", "If you mean QT_RELAY_TOKENS, rename it in the environment"),
        ),
        (
            *("a variable of a library", line("REQUESTS_CA_BUNDLE=/etc/proxy.pem")),
            *(Area.SETTINGS, WARNING, "only from the environment", "Set it in the environment"),
        ),
        ("a line without =", line("QT_POLL_MINUTES: 5"), Area.SETTINGS, WARNING, "QT_POLL_MINUTES on line", "="),
        ("readable by others", readable_by_others, Area.SETTINGS, WARNING, "(mode 644)", "chmod 600"),
        ("a file that is no text", no_text, Area.SETTINGS, FAILURE, "UTF-8", "Correct it in"),
        ("a file that is not there", no_env_file, Area.SETTINGS, FAILURE, "does not exist", "QT_ENV_FILE"),
    ],
    *[
        ("an unknown key", catalog("datasets:\n  d-a:\n    tabel: x\n"), Area.CATALOG, FAILURE, "line 3", "Correct it"),
        ("two on one table", catalog(TWO_ON_ONE_TABLE), Area.CATALOG, FAILURE, "both go to the table", "Correct it"),
        ("no catalog", setting("QT_CATALOG", "/nowhere/d.yaml"), Area.CATALOG, FAILURE, "does not exist", "QT_CATALOG"),
    ],
    *[
        ("no client id", without("QT_CLIENT_ID"), Area.TOKEN, FAILURE, "not set", "qt-pipeline init"),
        ("a wrong secret", setting("QT_CLIENT_SECRET", "wrong"), Area.TOKEN, FAILURE, "refuses the secret", "SECRET"),
        (
            "a wrong client",
            setting("QT_CLIENT_ID", "wrong"),
            Area.TOKEN,
            FAILURE,
            "not know the client id",
            "CLIENT_ID",
        ),
        ("no token endpoint", nowhere("QT_TOKEN_URL"), Area.TOKEN, FAILURE, "No connection", "QT_TOKEN_URL"),
        (
            "a page for a token",
            served("QT_TOKEN_URL", 200, PROXY_PAGE),
            Area.TOKEN,
            FAILURE,
            "not a token",
            "TOKEN_URL",
        ),
        ("no trusted connection", no_tls, Area.TOKEN, FAILURE, "No trusted connection", "REQUESTS_CA_BUNDLE"),
        ("a clock that is wrong", clock_ahead, Area.TOKEN, WARNING, "seconds ahead of Quantemplate's", "NTP"),
    ],
    *[
        ("no organisation", without("QT_ORGANISATION_ID"), Area.ORGANISATION, FAILURE, "not set", "qt-pipeline init"),
        (
            *("another organisation", setting("QT_ORGANISATION_ID", "c-others-000001"), Area.ORGANISATION, WARNING),
            *("rejects every dataset", "QT_ORGANISATION_ID"),
        ),
        (
            *("no id of an organisation", setting("QT_ORGANISATION_ID", "https://x/c-a"), Area.ORGANISATION, WARNING),
            *("is not an organisation id", "from the URL"),
        ),
    ],
    *[
        ("an unknown dataset", unknown_dataset, Area.DATASETS, FAILURE, "404", "Check the dataset's id"),
        ("a dataset not shared", download("status", status=403), Area.DATASETS, FAILURE, "403", "not shared"),
        ("a dataset not ready", download("not_ready"), Area.DATASETS, WARNING, "204", "look at it in Quantemplate"),
        ("a page for a dataset", download("html"), Area.DATASETS, FAILURE, "content type", "HTTPS_PROXY"),
        ("a dataset of no bytes", download("empty"), Area.DATASETS, FAILURE, "zero bytes", "Look at the dataset"),
        ("a dataset that drips", slow, Area.DATASETS, FAILURE, "not arrive within", "Check the network"),
        ("the API is down", nowhere("QT_API_URL", "/v1"), Area.DATASETS, FAILURE, "No connection", "QT_API_URL"),
        (
            *("a column that is not there", dataset(columns={"Piad": "text"}), Area.DATASETS, FAILURE),
            *("no column 'Piad'", "Did you mean 'Paid'?"),
        ),
        (
            *("a key that is not there", dataset(mode="upsert", key=["Claim"]), Area.DATASETS, FAILURE),
            *("no column 'Claim'", "Correct it in the catalog"),
        ),
    ],
    *[
        ("a file for a folder", file_for_folder, Area.LANDING, FAILURE, "cannot be written", "may write there"),
        ("little room", little_room, Area.LANDING, WARNING, "are free", "Free space"),
        ("landing in memory", setting("QT_LANDING_URL", "memory://x"), Area.LANDING, WARNING, "in memory", "folder"),
        ("no such store", setting("QT_LANDING_URL", "nope://x"), Area.LANDING, FAILURE, "No installed", "Install"),
    ],
    *[
        ("inbox in memory", setting("QT_INBOX_URL", "sqlite://"), Area.INBOX, FAILURE, "in memory", "QT_INBOX_URL"),
        ("inbox is no database", no_database("QT_INBOX_URL"), Area.INBOX, FAILURE, "not a database", "Check"),
        ("inbox on a share", on_a_share("QT_INBOX_URL", "inbox.db"), Area.INBOX, WARNING, "(cifs)", "local disk"),
        (
            *("no queue", nowhere("QT_RELAY_QUEUE_URL", "/devstoreaccount1/queue"), Area.INBOX, FAILURE),
            *("cannot be reached", "QT_RELAY_QUEUE_URL"),
        ),
    ],
    *[
        ("target is no database", no_database("QT_WAREHOUSE_URL"), Area.TARGET, FAILURE, "not a database", "Check"),
        ("target on a share", on_a_share("QT_WAREHOUSE_URL", "w.db"), Area.TARGET, WARNING, "(cifs)", "local disk"),
        ("no write-ahead log", without_wal, Area.TARGET, WARNING, "Readers wait", "docs/targets.md"),
        (
            *("no server", setting("QT_WAREHOUSE_URL", f"postgresql://u@127.0.0.1:{closed_port()}/d")),
            *(Area.TARGET, FAILURE, "refuse", "Check that the server runs"),
        ),
        (
            *("no such dialect", setting("QT_WAREHOUSE_URL", "nonsense://u@h/d")),
            *(Area.MACHINE, FAILURE, "no dialect", "postgresql://"),
        ),
        (
            *("no ODBC driver", setting("QT_WAREHOUSE_URL", "mssql+pyodbc://u@h/d?driver=No+Such+Driver")),
            *(Area.MACHINE, FAILURE, "ODBC", "Install"),
        ),
        ("no library of the driver", library_missing, Area.MACHINE, FAILURE, "libnowhere", "libltdl7"),
    ],
    *[
        ("no relay", nowhere("QT_RELAY_URL"), Area.RELAY, FAILURE, "No relay responds", "qt-pipeline relay"),
        ("another server", served("QT_RELAY_URL", 404), Area.RELAY, FAILURE, "not the relay", "QT_RELAY_URL"),
        ("a relay without inbox", served("QT_RELAY_URL", 503), Area.RELAY, FAILURE, "cannot store", "inbox"),
        ("no token", without("QT_RELAY_TOKENS"), Area.RELAY, WARNING, "only from this machine", "qt-pipeline init"),
    ],
    *[
        ("no Dagster", nowhere("QT_DAGSTER_URL"), Area.DAGSTER, FAILURE, "cannot be reached", "make dev"),
        ("no Dagster but another", served("QT_DAGSTER_URL", 404), Area.DAGSTER, FAILURE, "404", "QT_DAGSTER_URL"),
        ("code that fails", code_that_fails, Area.DAGSTER, FAILURE, "QT_CATALOG is wrong", "reload"),
        ("a daemon that is gone", daemon_gone, Area.DAGSTER, FAILURE, "is not running", "dagster-daemon run"),
        ("no guard", unguarded, Area.DAGSTER, WARNING, "cross-origin requests", "qt-pipeline dev"),
        ("no daemon", daemon_never_there, Area.DAGSTER, FAILURE, "is not running", "dagster-daemon run"),
        ("a part that is stuck", sensors_stuck, Area.DAGSTER, FAILURE, "no heartbeat for", "dagster-daemon run"),
        ("a part that fails", scheduler_fails, Area.DAGSTER, FAILURE, "disk I/O error", "daemon's log"),
        ("a sensor that is off", sensor_off, Area.DAGSTER, FAILURE, "is stopped", "Turn it on"),
    ],
    *[
        ("no such service", setting("QT_ALERT_URLS", "nope://x"), Area.ALERTS, FAILURE, "not recognize", "apprise"),
        ("no alerts", without("QT_ALERT_URLS"), Area.ALERTS, WARNING, "no alerts are sent", "QT_ALERT_URLS"),
    ],
]
# What must also be said for one fault: the one cause shows at several places, or hides what cannot be seen without it.
ALSO: dict[str, set[Area]] = {
    "a file that is not there": set(Area),
    "a file that is no text": set(Area),
    "another organisation": {Area.DATASETS},
    "no id of an organisation": {Area.DATASETS},
}


@pytest.mark.parametrize("planted", FAULTS, ids=[fault[0] for fault in FAULTS])
def test_a_fault_is_found_with_its_next_step(place: Place, planted: Planted) -> None:
    name, plant, area, state, found, hint = planted
    plant(place)
    findings = place.look()
    matching = [one for one in only(findings, area, state) if found in one.message]
    assert matching, [one for one in findings if one.state is not OK]
    assert any(hint in one.hint for one in matching), matching
    elsewhere = {one.area for one in findings if one.state in (WARNING, FAILURE)} - {area}
    assert elsewhere <= ALSO.get(name, set()), findings


def test_there_are_more_than_twenty_different_faults() -> None:
    assert len({fault[0] for fault in FAULTS}) == len(FAULTS) > 20

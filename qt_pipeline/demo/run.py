"""`make demo`: sends first events, changes datasets occasionally, and prints the loads.

Here: the sequence and the output. Not here: the processes (see stack), waiting for loads (see rounds).
"""

import signal
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from types import FrameType

from rich.console import Console
from rich.table import Table

from qt_pipeline.demo.errors import DemoError, NotArrivedError
from qt_pipeline.demo.folder import held
from qt_pipeline.demo.rounds import Arrival, await_round
from qt_pipeline.demo.stack import Ports, Stack, free_ports
from qt_pipeline.safe_text import rich_markup
from qt_pipeline.sandbox import SANDBOX_DATASETS
from qt_pipeline.settings import PROJECT_ROOT

_CHANGE_SECONDS = (10, 30)


def run_demo(state_dir: Path, wanted: Ports, *, once: bool) -> None:
    """Run the whole pipeline on this machine: one round with `once`, else until Ctrl-C.

    Raises:
        DemoError: the demo failed.
    """
    console = Console(soft_wrap=True, emoji=False)
    with held(state_dir), _interrupt_on_termination():
        ports = free_ports(wanted, console.print)
        # The demo prints its own alerts, unless the user sets other addresses for it.
        alert_url = f"json://127.0.0.1:{ports.sandbox}/_control/alerts"
        stack = Stack(state_dir, ports, defaults={"QT_ALERT_URLS": alert_url})
        try:
            console.print("Starting the sandbox, the relay and Dagster ...")
            stack.start_sandbox()
            stack.start_relay()
            stack.start_dagster()
            stack.write_env_file()
            console.print(_welcome(stack))
            seqs = {dataset.id: stack.fire(dataset.id) for dataset in SANDBOX_DATASETS}
            _show(console, await_round(stack, seqs))
            if not once:
                _change_occasionally(stack, console)
        except KeyboardInterrupt:
            if once:
                raise DemoError("The demo was interrupted before its round ended.") from None
        finally:
            console.print("Stopping ...")
            stack.stop_all()


def _welcome(stack: Stack) -> str:
    return (
        f"\nDagster's UI: {stack.ui_url}\n"
        "  Catalog > warehouse/table: rows, columns, preview and checks of each dataset\n"
        "  Automation > quantemplate_events: the sensor that turns events into runs\n"
        f"The tables: sqlite3 {stack.state_dir / 'warehouse.db'}\n"
        f"The logs: {stack.state_dir / 'logs'}\n"
        f"Use it from a second terminal: QT_ENV_FILE={_from_root(stack.env_file)} "
        f"{_from_root(Path(sys.prefix))}/bin/qt-pipeline doctor (or events, datasets, run ...)\n\n"
        "Three datasets have changed in the sandbox; their events are being processed ..."
    )


def _from_root(path: Path) -> Path:
    return path.relative_to(PROJECT_ROOT) if path.is_relative_to(PROJECT_ROOT) else path


def _show(console: Console, arrivals: list[Arrival]) -> None:
    table = Table("Dataset", "Table", "Rows", "Seconds from event to commit")
    table.columns[2].justify = table.columns[3].justify = "right"
    for arrival in arrivals:
        table.add_row(arrival.dataset, arrival.load.table_name, f"{arrival.load.rows:,}", f"{arrival.seconds:.1f}")
    console.print(table)


def _change_occasionally(stack: Stack, console: Console) -> None:
    console.print("Datasets change occasionally; watch their loads in the UI. Ctrl-C stops everything.")
    random = Random()  # noqa: S311  # no security purpose
    alerts = _Alerts(stack, console)
    while True:
        for _ in range(random.randint(*_CHANGE_SECONDS)):
            time.sleep(1)
            alerts.show_new()
        dataset = random.choice(SANDBOX_DATASETS)
        try:
            [arrival] = await_round(stack, {dataset.id: stack.fire(dataset.id, change=True)})
        except NotArrivedError as error:
            console.print(f"[yellow]{rich_markup(str(error))}[/]")
            continue
        rows, load_id, seconds = arrival.load.rows, arrival.load.load_id, arrival.seconds
        console.print(f"{arrival.dataset} changed: load {load_id}, {rows:,} rows, committed after {seconds:.1f} s.")


class _Alerts:
    """The demo's alerts, which the sandbox receives instead of a chat or a mailbox."""

    def __init__(self, stack: Stack, console: Console) -> None:
        self._stack = stack
        self._console = console
        self._shown = 0

    def show_new(self) -> None:
        """Print new alerts."""
        alerts = self._stack.control("GET", "alerts")
        for alert in alerts[self._shown :]:
            message = "\n".join(map(rich_markup, alert["message"].splitlines()))
            self._console.print(f"[yellow]Alert: {rich_markup(alert['title'])}[/]\n{message}\n")
        self._shown = len(alerts)


@contextmanager
def _interrupt_on_termination() -> Generator[None]:
    """Handle SIGTERM and SIGHUP like Ctrl-C."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous_handlers = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in previous_handlers.items():
            signal.signal(number, handler)

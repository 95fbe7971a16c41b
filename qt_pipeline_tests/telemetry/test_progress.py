"""Progress of long work: what is counted, when a line tells of it, what a terminal shows."""

import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from qt_pipeline.ingest import load_file, local_file
from qt_pipeline.sandbox import SandboxServer
from qt_pipeline.settings import ENV_FILE_VARIABLE
from qt_pipeline.telemetry import LoadStage, Progress, ProgressLogger, ProgressTracker
from qt_pipeline_tests.ingest.loading import Loading
from qt_pipeline_tests.ingest.place import CSV, DATASET, Place

MEGABYTE = 1_000_000


class Watch:
    """A clock that stands until it is set, and the lines that were said at it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.said: list[str] = []
        self.ticker = ProgressLogger("Dataset claims", say=self.said.append, clock=lambda: self.now)

    def after(self, seconds: float, progress: Progress) -> list[str]:
        """The lines that come of this progress, so much later."""
        self.now += seconds
        before = len(self.said)
        self.ticker(progress)
        return self.said[before:]


def downloaded(megabytes: int, of: int | None = None) -> Progress:
    return Progress(LoadStage.DOWNLOAD, megabytes * MEGABYTE, of and of * MEGABYTE)


def test_short_work_is_not_told_of() -> None:
    watch = Watch()
    for step in range(49):
        assert watch.after(0.1, downloaded(step)) == []
    # Each stage has its five seconds.
    for step in range(49):
        assert watch.after(0.1, Progress(LoadStage.STAGE, rows=step)) == []


def test_long_work_is_told_of_every_five_seconds_with_the_speed_since_the_last_line() -> None:
    watch = Watch()
    watch.after(0, downloaded(0))
    assert watch.after(4.9, downloaded(100)) == []
    assert watch.after(0.1, downloaded(120)) == ["Dataset claims: downloaded 120 MB (24 MB/s)."]
    assert watch.after(4.9, downloaded(125)) == []
    assert watch.after(0.1, downloaded(130)) == ["Dataset claims: downloaded 130 MB (2.0 MB/s)."]


def test_rows_are_told_of_with_the_part_of_the_file_that_is_read() -> None:
    watch = Watch()
    watch.after(0, Progress(LoadStage.STAGE))
    half = Progress(LoadStage.STAGE, bytes=50, total_bytes=100, rows=1_200_000)
    assert watch.after(10, half) == ["Dataset claims: staged 1,200,000 rows (120,000/s), 50 % of the file."]


def test_reading_is_told_of_with_the_whole() -> None:
    watch = Watch()
    watch.after(0, Progress(LoadStage.READ, 0, 20_000 * MEGABYTE))
    told = watch.after(5, Progress(LoadStage.READ, 1_500 * MEGABYTE, 20_000 * MEGABYTE))
    assert told == ["Dataset claims: read 1.5 GB of 20 GB (300 MB/s)."]


def test_a_download_that_begins_anew_is_counted_from_there() -> None:
    watch = Watch()
    watch.after(0, downloaded(0))
    watch.after(5, downloaded(500))
    assert watch.after(1, downloaded(0)) == []
    assert watch.after(5, downloaded(10)) == ["Dataset claims: downloaded 10 MB (2.0 MB/s)."]


@pytest.mark.parametrize(("seconds", "lines"), [(4.9, []), (5, ["Dataset claims: publishes 7,000 rows."])])
def test_a_publish_is_told_of_once_where_the_work_before_was_long(seconds: float, lines: list[str]) -> None:
    watch = Watch()
    watch.after(0, Progress(LoadStage.STAGE))
    publishing = Progress(LoadStage.PUBLISH, rows=7000)
    assert watch.after(seconds, publishing) == lines
    assert watch.after(60, publishing) == []


def test_a_sink_that_is_opened_again_counts_from_zero() -> None:
    seen: list[Progress] = []
    meter = ProgressTracker(seen.append)
    meter.enter(LoadStage.DOWNLOAD)

    @contextmanager
    def sink() -> Iterator[io.BytesIO]:
        yield io.BytesIO()

    for _ in range(2):
        with meter.sinking(sink)() as counted:
            counted.write(b"1234")
            counted.write(b"56")
    assert [progress.bytes for progress in seen] == [0, 0, 4, 6, 0, 4, 6]
    assert {progress.stage for progress in seen} == {LoadStage.DOWNLOAD}


def test_a_load_tells_of_all_bytes_and_rows_in_its_stages(tmp_path: Path) -> None:
    loading = Loading(tmp_path)
    data = b"Reference,Paid\n" + b"007,1.25\n" * 300_000
    file = loading.file(data)
    seen: list[Progress] = []
    load_file(loading.warehouse, loading.dataset, file, observe=seen.append)
    stages = list(dict.fromkeys(progress.stage for progress in seen))
    assert stages == [LoadStage.READ, LoadStage.STAGE, LoadStage.PUBLISH]
    staged = [progress for progress in seen if progress.stage is LoadStage.STAGE]
    assert (staged[-1].bytes, staged[-1].total_bytes, staged[-1].rows) == (len(data), len(data), 300_000)
    assert len({progress.rows for progress in staged}) > 2
    assert seen[-1].rows == 300_000


def test_a_second_pass_counts_its_rows_anew(tmp_path: Path) -> None:
    loading = Loading(tmp_path)
    # The second megabytes make text of what began as numbers.
    data = b"Reference,Note,Text\n" + b"1,1,%s\n" % (b"x" * 400) * 15_000 + b"2,two,\n"
    seen: list[Progress] = []
    load_file(loading.warehouse, loading.dataset, loading.file(data), observe=seen.append)
    assert seen[-1] == Progress(LoadStage.PUBLISH, 0, len(data), 15_001)
    assert max(progress.rows for progress in seen) == 15_001


def test_the_hash_of_a_file_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "file.csv").write_bytes(CSV)
    seen: list[Progress] = []
    local_file(tmp_path / "file.csv", run_id="run-1", observe=seen.append)
    assert seen[-1] == Progress(LoadStage.READ, len(CSV), len(CSV))


def test_a_download_tells_of_its_bytes(sandbox: SandboxServer, tmp_path: Path) -> None:
    with Place.opened(sandbox, tmp_path) as place:
        place.serve(CSV)
        seen: list[Progress] = []
        place.ingest().land(DATASET, run_id="run-1", observe=seen.append)
    assert seen[-1] == Progress(LoadStage.DOWNLOAD, len(CSV))


def loaded_at_a_terminal(tmp_path: Path, *options: str) -> tuple[str, str]:
    """What `qt-pipeline load` writes to its standard output, and to a terminal as its standard error."""
    (tmp_path / "file.csv").write_bytes(CSV)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("QT_", "OTEL_"))}
    environment = {**inherited, ENV_FILE_VARIABLE: "", "QT_STATE_DIR": str(tmp_path / "state"), "TERM": "xterm"}
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "qt_pipeline", "load", str(tmp_path / "file.csv"), "--dataset-id", DATASET]
    with subprocess.Popen([*command, *options], env=environment, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        seen = b""
        # Linux ends a terminal whose other side is closed with an error.
        try:
            while chunk := os.read(ours, 1 << 16):
                seen += chunk
        except OSError:
            pass
        finally:
            os.close(ours)
        assert process.stdout is not None
        output = process.stdout.read().decode()
    assert process.returncode == 0, seen.decode()
    return output, seen.decode()


def test_a_terminal_shows_stages_bytes_and_rows_and_json_stays_clean(tmp_path: Path) -> None:
    output, terminal = loaded_at_a_terminal(tmp_path, "--json")
    assert json.loads(output)["rows"] == 3
    assert "publishing" in terminal
    assert f"{len(CSV)}/{len(CSV)} bytes" in terminal
    assert "3 rows" in terminal

"""No 202 without a commit: seen from the system calls of the relay, and with a disk that is full."""

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from qt_pipeline.inbox import open_inbox
from qt_pipeline_tests.relay.posting import event
from qt_pipeline_tests.relay.running import SERVE, TOKEN, Relay, SpawnRelay

CALLS = "read,recvfrom,recvmsg,readv,write,writev,sendto,sendmsg,fsync,fdatasync,openat"


def traced(pid: int, output: Path) -> "subprocess.Popen[bytes] | None":
    """Watch the system calls of a process and its threads; nothing where that is not possible."""
    strace = shutil.which("strace")
    if strace is None:
        return None
    command = [strace, "-f", "-y", "-s", "4000", "-e", f"trace={CALLS}", "-o", str(output), "-p", str(pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE)
    assert tracer.stderr is not None
    # Its first line says whether it may watch.
    if b"attached" not in tracer.stderr.readline():
        tracer.kill()
        tracer.wait()
        return None
    return tracer


def positions(trace: str, pattern: str) -> dict[str, int]:
    """Where in the trace each event's mark is first found."""
    found: dict[str, int] = {}
    for match in re.finditer(pattern, trace):
        found.setdefault(match[1], match.start())
    return found


def test_each_202_is_sent_after_a_sync_of_the_log_that_began_after_its_request(
    spawn_relay: SpawnRelay, tmp_path: Path
) -> None:
    relay = spawn_relay(SERVE)
    trace_file = tmp_path / "trace"
    tracer = traced(relay.process.pid, trace_file)
    if tracer is None:
        pytest.skip("strace is missing, or may not watch processes here: no system call was looked at.")
    acknowledged: dict[int, str] = {}

    def post(mark: str) -> None:
        answer = relay.post(event(mark))
        assert answer.status_code == 202
        acknowledged[answer.json()["sequence"]] = mark

    for number in range(20):
        post(f"mark-{number:04}")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(post, [f"mark-{number:04}" for number in range(20, 200)]))
    tracer.send_signal(signal.SIGINT)
    tracer.wait(20)
    trace = trace_file.read_text(errors="replace")
    requests_read = positions(trace, r"\d+ +(?:<\.\.\. )?(?:read|recv)[^\n]*(mark-\d{4})")
    answered = positions(trace, r'(?:write|writev|send\w+)\(\d+<socket[^\n]*\\"sequence\\": ?(\d+)')
    syncs = synced(trace, str(relay.inbox_file) + "-wal")
    assert len(answered) == len(acknowledged) == 200
    for sequence, position in answered.items():
        request_read = requests_read[acknowledged[int(sequence)]]
        assert any(request_read < began < ended < position for began, ended in syncs), f"{sequence} came too early"


def synced(trace: str, file: str) -> list[tuple[int, int]]:
    """Where each successful sync of a file begins and where it has returned."""
    found: list[tuple[int, int]] = []
    begun: dict[str, int] = {}
    position = 0
    for line in trace.splitlines(keepends=True):
        thread = line.partition(" ")[0]
        if re.search(rf"f(?:data)?sync\(\d+<{re.escape(file)}>", line):
            begun[thread] = position
            if re.search(r"\)\s+= 0$", line.rstrip()):
                found.append((begun.pop(thread), position + len(line) - 1))
        elif re.search(r"<\.\.\. f(?:data)?sync resumed>.*= 0$", line.rstrip()) and thread in begun:
            found.append((begun.pop(thread), position + len(line) - 1))
        position += len(line)
    return found


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
        )
        if os.geteuid() == 0 and shutil.which("mount")
        else None
    )
    if mount is None or mount.returncode:
        pytest.skip(f"No small disk can be mounted here: {mount.stderr if mount else 'that needs root'}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def ready_within(relay: Relay, *, seconds: float, status: int) -> bool:
    """Whether /readyz comes to say so: it remembers good news for a second."""
    deadline = time.monotonic() + seconds
    while relay.call("GET", "/readyz").status_code != status:
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.05)
    return True


def test_a_full_disk_is_said_and_space_heals_it_without_a_restart(spawn_relay: SpawnRelay, small_disk: Path) -> None:
    relay = spawn_relay(SERVE.replace("sys.argv[1]", f"'sqlite:///{small_disk}/inbox.db'"))
    acknowledged: dict[int, str] = {}

    def post(mark: str) -> int:
        answer = relay.post(event(mark).ljust(20_000))
        if answer.status_code == 202:
            acknowledged[answer.json()["sequence"]] = mark
        else:
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
            assert "inbox.db" not in answer.text
        return answer.status_code

    assert post("before") == 202
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as full, suppress(OSError):
        while True:
            full.write(b"x" * 4096)
    # What the database has of its own may still take a few.
    statuses = [post(f"full-{number}") for number in range(300)]
    assert statuses[-1] == 503
    assert ready_within(relay, seconds=10, status=503)
    assert relay.call("GET", "/healthz").status_code == 200
    filler.unlink()
    assert post("after") == 202
    assert ready_within(relay, seconds=10, status=200)
    inbox = open_inbox(f"sqlite:///{small_disk}/inbox.db")
    stored = {one.seq: one.event_id for one in inbox.events(limit=10_000)}
    inbox.close()
    assert acknowledged.items() <= stored.items()
    relay.end(signal.SIGTERM)
    log = relay.log.read_text()
    assert "Check that its disk has space" in log
    assert TOKEN not in log

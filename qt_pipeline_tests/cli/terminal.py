"""The command line at a terminal: a pseudo-terminal, and answers typed into it when it asks."""

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_PATIENCE_SECONDS = 60


def typed(
    arguments: Sequence[str], answers: Sequence[tuple[str, str]], *, environment: Mapping[str, str], folder: Path
) -> tuple[int, str]:
    """Run `qt-pipeline` and give each answer as soon as its question, a part of one, is on the screen.

    What is typed before a terminal hides it is thrown away: of a question for a secret, name the end, blank included.

    Returns:
        The exit code, and all that was on the screen.
    """
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "qt_pipeline", *arguments],
        cwd=folder,
        env={**environment, "TERM": "dumb", "COLUMNS": "200"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        # Hidden answers are read from the terminal that the process belongs to.
        start_new_session=True,
        preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),  # noqa: PLW1509  # it takes no lock
    )
    os.close(theirs)
    screen, looked_at, waiting = "", 0, list(answers)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    try:
        while time.monotonic() < deadline:
            if select.select([ours], [], [], 0.1)[0]:
                try:
                    screen += os.read(ours, 65536).decode(errors="replace")
                except OSError:
                    break
            if waiting and (found := re.search(re.escape(waiting[0][0]), screen[looked_at:])):
                looked_at += found.end()
                os.write(ours, f"{waiting.pop(0)[1]}\n".encode())
        assert not waiting, f"never printed: {waiting[0][0]}\n{screen}"
        return process.wait(_PATIENCE_SECONDS), screen
    finally:
        process.kill()
        process.wait()
        os.close(ours)

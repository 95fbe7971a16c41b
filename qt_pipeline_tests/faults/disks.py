"""Disks of a few megabytes, to be filled."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Disk:
    """A small file system in memory."""

    folder: Path

    def grow(self, megabytes: int) -> None:
        """Space returns."""
        self._mount(f"remount,size={megabytes}m")

    def _mount(self, options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.folder)]
        subprocess.run(command, check=True, capture_output=True)


@contextmanager
def small_disk(kilobytes: int) -> Iterator[Disk]:
    """A disk of this size, away at the end of the block. The test is skipped where none can be made."""
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: a full disk needs root, to mount a small one")
    with tempfile.TemporaryDirectory() as folder:
        # A server that runs as another user is to find its way in.
        Path(folder).chmod(0o755)
        disk = Disk(Path(folder))
        try:
            disk._mount(f"size={kilobytes}k")
        except subprocess.CalledProcessError:
            pytest.skip("NOT TESTED: a full disk needs the right to mount a small one")
        try:
            yield disk
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)

"""Detects network file systems, on Linux.

Here: reading the kernel's mount table. Not here: the finding (see storage).
"""

import re
from pathlib import Path
from typing import Final

_MOUNTS: Final = Path("/proc/self/mountinfo")
_NETWORK: Final = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "glusterfs", "lustre", "ncpfs")
_OVER_NETWORK: Final = ("fuse.sshfs", "fuse.s3fs", "fuse.blobfuse", "fuse.blobfuse2", "fuse.rclone", "fuse.glusterfs")
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")


def network_file_system(path: Path) -> str | None:
    """The kind of network file system that contains `path`; None if it is local or unknown."""
    try:
        table = _MOUNTS.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    kind = _kind_at(path.resolve(), table)
    return kind if kind in (*_NETWORK, *_OVER_NETWORK) else None


def _kind_at(path: Path, table: str) -> str | None:
    """The kind of file system at a path, by a table as proc_pid_mountinfo(5) describes it."""
    found: tuple[int, str | None] = (-1, None)
    for line in table.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split()
        if len(fields) > 4 and after:  # noqa: PLR2004  # the fifth is the mount point
            point = Path(_ESCAPED.sub(lambda code: chr(int(code[1], 8)), fields[4]))
            # A later mount at the same place covers the earlier one.
            if path.is_relative_to(point) and len(point.parts) >= found[0]:
                found = len(point.parts), after.split()[0]
    return found[1]

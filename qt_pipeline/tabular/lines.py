"""Lines and records of a CSV file as bytes.

Here: where lines and records begin and end, and the byte order marks before the first.
Not here: what a record must be (see guard), its values (see reader).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class RecordBytes:
    """A record with its line ends, its first line (from 1 at the header) and its first byte (from 0)."""

    lines: tuple[bytes, ...]
    first_line: int
    first_byte: int


def marks_length(head: bytes) -> int:
    """The length of the byte order marks at the beginning of a file; concatenated files have several."""
    length = 0
    while head.startswith(BYTE_ORDER_MARK, length):
        length += len(BYTE_ORDER_MARK)
    return length


def count_lines(data: bytes) -> int:
    r"""The number of line ends (`\n`, `\r\n` or a lone `\r`) in `data`."""
    carriage_returns = data.count(b"\r")
    return data.count(b"\n") + (carriage_returns - data.count(b"\r\n") if carriage_returns else 0)


def records_of(stream: BinaryIO) -> Iterator[RecordBytes]:
    """The records of a file. A record whose quote is never closed extends to the end of the file."""
    lines: list[bytes] = []
    in_quotes = False
    first_line, first_byte, byte = 1, 0, 0
    for number, line in enumerate(_lines_of(stream), start=1):
        lines.append(line)
        byte += len(line)
        in_quotes ^= bool(line.count(b'"') % 2)
        if not in_quotes:
            yield RecordBytes(tuple(lines), first_line, first_byte)
            lines, first_line, first_byte = [], number + 1, byte
    if lines:
        yield RecordBytes(tuple(lines), first_line, first_byte)


def _lines_of(stream: BinaryIO) -> Iterator[bytes]:
    """Lines with their ends: LF, CR LF, or a lone CR."""
    rest = b""
    while chunk := stream.read(_CHUNK):
        lines = (rest + chunk).splitlines(keepends=True)
        # The next byte decides whether a carriage return is a line end of its own.
        rest = b"" if lines[-1].endswith(b"\n") else lines.pop()
        yield from lines
    if rest:
        yield rest

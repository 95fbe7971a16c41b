"""A record of a CSV file as it stands there: the very text, and the lines it is on.

Here: where records begin and end. Not here: what is in them (see reader).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from qt_pipeline.errors import PermanentError
from qt_pipeline.tabular.reader import OpenStream

_CHUNK = 1 << 20
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class RawRecord:
    """A record and the line on which it begins; `lines` are its text, without line ends."""

    first_line: int
    lines: tuple[str, ...]

    @property
    def last_line(self) -> int:
        """The line on which it ends."""
        return self.first_line + len(self.lines) - 1


class NoRecordError(PermanentError):
    """No record of the file begins on a line."""


def record_at(open_stream: OpenStream, line: int) -> tuple[RawRecord, RawRecord]:
    """The header, and the record that begins on a line; lines count from 1, which is the header's.

    Raises:
        NoRecordError: none begins there; the message names the record around the line, or the end of the file.
    """
    header = last = None
    for record in _records(open_stream):
        header, last = header or record, record
        if record.first_line == line:
            return header, record
        if record.last_line >= line:
            raise NoRecordError(
                f"No record begins on line {line}: it is within the record of lines {record.first_line} to "
                f"{record.last_line}.",
                todo=f"Ask for line {record.first_line}.",
            )
    end = f"the file has {last.last_line} lines" if last else "the file is empty"
    raise NoRecordError(f"No record begins on line {line}: {end}.", todo="The column _qt_row names a row's line.")


def _records(open_stream: OpenStream) -> Iterator[RawRecord]:
    with open_stream() as stream:
        lines: list[bytes] = []
        in_quotes = False
        first = 1
        for number, line in enumerate(_lines(stream), start=1):
            lines.append(line)
            in_quotes ^= bool(line.count(b'"') % 2)
            if not in_quotes:
                yield _record(first, lines)
                lines, first = [], number + 1
        if lines:
            # A quote that is never closed: what is left is one record, which no load would take.
            yield _record(first, lines)


def _record(first: int, lines: list[bytes]) -> RawRecord:
    bare = [lines[0].removeprefix(_BOM) if first == 1 else lines[0], *lines[1:]]
    return RawRecord(first, tuple(line.rstrip(b"\r\n").decode(errors="replace") for line in bare))


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """Lines with their ends: LF, CR LF, or a lone CR."""
    rest = b""
    while chunk := stream.read(_CHUNK):
        lines = (rest + chunk).splitlines(keepends=True)
        # Whether a carriage return ends a line alone shows with the byte that follows.
        rest = b"" if lines[-1].endswith(b"\n") else lines.pop()
        yield from lines
    if rest:
        yield rest

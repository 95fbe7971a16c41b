"""Find a record of a CSV file by its line, with its raw text.

Here: where records begin and end. Not here: their values (see reader).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from qt_pipeline.errors import PermanentError
from qt_pipeline.tabular.lines import marks_length, records_of
from qt_pipeline.tabular.reader import OpenStream


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
        NoRecordError: none begins there; the message names the record that spans the line, or the end of the file.
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
                hint=f"Use line {record.first_line}.",
            )
    end = f"the file has {last.last_line} lines" if last else "the file is empty"
    raise NoRecordError(f"No record begins on line {line}: {end}.", hint="The column _qt_row names a row's line.")


def _records(open_stream: OpenStream) -> Iterator[RawRecord]:
    with open_stream() as stream:
        for record in records_of(stream):
            first, *others = record.lines
            bare = first if record.first_line > 1 else first[marks_length(first) :]
            texts = (line.rstrip(b"\r\n").decode(errors="replace") for line in (bare, *others))
            yield RawRecord(record.first_line, tuple(texts))

"""A strict reader of CSV (RFC 4180, in UTF-8) over bytes.

Here: records with the bytes, the line and the place of each field; what is no CSV. Not here: types (see forms).
"""

import re
from dataclasses import dataclass
from functools import cached_property

BOM = b"\xef\xbb\xbf"
_BARE = re.compile(rb'[^",\r\n]*')
_QUOTED = re.compile(rb'"(?:[^"]|"")*"')
_LINE_END = re.compile(rb"\r\n|\r|\n")


class CsvFaultError(Exception):
    """The bytes are no CSV: what is wrong."""


@dataclass(frozen=True)
class Field:
    """One value: its bytes as they stand, quotes included, from `start` to `end` of the file."""

    start: int
    end: int
    raw: bytes

    @cached_property
    def text(self) -> str:
        raw = self.raw[1:-1].replace(b'""', b'"') if self.raw[:1] == b'"' else self.raw
        return raw.decode()


@dataclass(frozen=True)
class Record:
    """One row, its line end included in the span; `line` is the one on which it begins, counted from 1."""

    fields: tuple[Field, ...]
    line: int
    start: int
    end: int

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(field.text for field in self.fields)

    @property
    def is_blank_line(self) -> bool:
        return len(self.fields) == 1 and not self.fields[0].raw


@dataclass(frozen=True)
class CsvText:
    """A file as it was read."""

    header: tuple[str, ...]
    rows: tuple[Record, ...]
    records: tuple[Record, ...]

    @property
    def longest(self) -> int:
        """The bytes of its longest record."""
        return max(record.end - record.start for record in self.records)


def read(data: bytes) -> CsvText:
    """Read a whole file.

    Raises:
        CsvFaultError: it is none.
    """
    if b"\0" in data:
        raise CsvFaultError("NUL")
    try:
        data.decode()
    except UnicodeDecodeError:
        raise CsvFaultError("not UTF-8") from None
    at = len(BOM) if data.startswith(BOM) else 0
    if at == len(data):
        raise CsvFaultError("no bytes")
    records: list[Record] = []
    line = 1
    while at < len(data):
        record = _record(data, at, line)
        records.append(record)
        line += len(_LINE_END.findall(data, record.start, record.end))
        at = record.end
    width = len(records[0].fields)
    for record in records[1:]:
        if len(record.fields) != width:
            raise CsvFaultError(f"line {record.line} has {len(record.fields)} values, the header {width}")
    return CsvText(records[0].texts, tuple(records[1:]), tuple(records))


def _record(data: bytes, start: int, line: int) -> Record:
    fields: list[Field] = []
    at = start
    while True:
        pattern = _QUOTED if data[at : at + 1] == b'"' else _BARE
        found = pattern.match(data, at)
        if found is None:
            raise CsvFaultError(f"line {line}: a quote is not closed")
        fields.append(Field(found.start(), found.end(), found[0]))
        at = found.end()
        if data[at : at + 1] == b",":
            at += 1
            continue
        end = _LINE_END.match(data, at)
        if end is None and at < len(data):
            raise CsvFaultError(f"line {line}: a stray quote")
        return Record(tuple(fields), line, start, end.end() if end else at)

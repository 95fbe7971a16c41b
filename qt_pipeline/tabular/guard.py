"""Strict CSV validation, byte by byte (RFC 4180).

Here: the rules that Arrow's reader does not enforce (quotes, blank lines, NUL), checked at memory speed as the bytes
stream through; and the slow search for the position of a fault, once a reader has rejected a file.
Not here: splitting bytes into values (see reader).
"""

import re
from typing import BinaryIO

import numpy as np

from qt_pipeline.errors import PermanentError
from qt_pipeline.tabular.lines import count_lines, records_of

_COMMA, _QUOTE, _LF, _CR = (ord(c) for c in ',"\n\r')
_QUOTED = re.compile(rb'"[^"]*"')
_NOWHERE = np.empty(0, dtype=np.int64)
_BESIDE_QUOTE = np.isin(np.arange(256), (_COMMA, _QUOTE, _LF, _CR))
_KEEP = "Nothing was loaded; the table keeps its rows. Correct the file at its source and publish it again."

Positions = np.ndarray[tuple[int], np.dtype[np.int64]]
CsvFault = tuple[int, str]
"""A position in the current bytes, and what is wrong there."""


class BadCsvError(PermanentError):
    """The file is not CSV that can be read without guessing.

    `line` counts from 1 at the header, `byte` from 0; both are positions in the landed file.
    """

    def __init__(self, reason: str, *, line: int, byte: int) -> None:
        self.reason = reason
        self.line = line
        self.byte = byte
        super().__init__(f"The file is not valid CSV at line {line}, byte {byte}: {reason}.", hint=_KEEP)


class CsvGuard:
    """Checks the bytes after the header as they stream through; raises `BadCsvError` at the first violation.

    RFC 4180 allows a quote only around a whole value and doubled inside one. A lenient reader silently turns `"a"b`
    into `ab`, or takes the rest of the file for one value.
    """

    def __init__(self, *, first_line: int, first_byte: int, columns: int) -> None:
        self._line = first_line
        self._byte = first_byte
        self._blank_line_is_a_row = columns == 1
        self._before = b"\n"
        self._held = b""
        self._in_quotes = False
        self._opened = (first_line, first_byte)

    def feed(self, chunk: bytes) -> None:
        """Check the next bytes of the file."""
        data = self._held + chunk
        # The meaning of a quote or a carriage return depends on the byte that follows.
        split = len(data) - (data[-1:] in (b'"', b"\r"))
        self._held = data[split:]
        self._check(data[:split], after=data[split : split + 1])

    def finish(self) -> None:
        """Run the checks that need the end of the file."""
        self._check(self._held, after=b"\n")
        self._held = b""
        if self._in_quotes:
            line, byte = self._opened
            raise BadCsvError("the quote that opens here is never closed", line=line, byte=byte)

    def _check(self, data: bytes, *, after: bytes) -> None:
        if not data:
            return
        window = self._before + data + after
        quotes = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == _QUOTE) if b'"' in data else _NOWHERE
        faults = [*_nul(data), *self._misplaced_quote(quotes, window)]
        if not self._blank_line_is_a_row:
            faults += self._blank_line(quotes, self._before + data)
        if faults:
            # Report the first position: after a misplaced quote, inside and outside are swapped.
            place, reason = min(faults)
            raise BadCsvError(reason, line=self._line + count_lines(data[:place]), byte=self._byte + place)
        if quotes.size:
            self._in_quotes ^= bool(quotes.size % 2)
            if self._in_quotes:
                opened = int(quotes[-1])
                self._opened = (self._line + count_lines(data[:opened]), self._byte + opened)
        self._before = data[-1:]
        self._line += count_lines(data)
        self._byte += len(data)

    def _misplaced_quote(self, quotes: Positions, window: bytes) -> list[CsvFault]:
        if not quotes.size:
            return []
        # While every quote is where RFC 4180 allows it, quotes open and close in turn (`""` closes and opens again).
        codes = np.frombuffer(window, dtype=np.uint8)
        opening, closing = quotes[int(self._in_quotes) :: 2], quotes[int(not self._in_quotes) :: 2]
        stray = opening[~_BESIDE_QUOTE[codes[opening]]]
        loose = closing[~_BESIDE_QUOTE[codes[closing + 2]]]
        reason = "a quote inside a value that is not quoted, or more text after a closing quote"
        return [(int(place), reason) for place in (*stray[:1], *loose[:1])]

    def _blank_line(self, quotes: Positions, window: bytes) -> list[CsvFault]:
        if not any(pair in window for pair in ((b"\n\n", b"\n\r", b"\r\r") if b"\r" in window else (b"\n\n",))):
            return []
        codes = np.frombuffer(window, dtype=np.uint8)
        ends, starts = codes[:-1], codes[1:]
        blank = np.flatnonzero(
            ((ends == _LF) & ((starts == _LF) | (starts == _CR))) | ((ends == _CR) & (starts == _CR))
        )
        outside = blank[(np.searchsorted(quotes, blank) + self._in_quotes) % 2 == 0]
        return [(int(place), "a blank line") for place in outside[:1]]


def _nul(data: bytes) -> list[CsvFault]:
    place = data.find(b"\0")
    return [(place, "a NUL character")] if place >= 0 else []


def locate_fault(stream: BinaryIO, columns: int) -> BadCsvError | None:
    """Read a rejected file again, slowly, and name the first row that has the wrong width or is not UTF-8."""
    for record in records_of(stream):
        data = b"".join(record.lines)
        try:
            data.decode()
        except UnicodeDecodeError as error:
            line = record.first_line + count_lines(data[: error.start])
            return BadCsvError("bytes that are not UTF-8", line=line, byte=record.first_byte + error.start)
        unquoted = _QUOTED.sub(b"", data)
        width = unquoted.count(b",") + 1
        if b'"' in unquoted:
            reason = "a quote that is misplaced or never closed"
        elif width != columns:
            reason = f"the row has {width} values, the header has {columns}"
        else:
            continue
        return BadCsvError(reason, line=record.first_line, byte=record.first_byte)
    return None

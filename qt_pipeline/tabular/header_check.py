"""Header check: whether the first line of a file is a plausible header, and if not, what the file seems to be.

Here: the decision, from the first bytes of a file. Pure.
Not here: when it is made (see the loader in ingest), the rules of CSV (see guard).

The first file of a dataset creates its contract. A contract made from a title, a row of data or a line with other
separators gives a table of text under meaningless names, which no later file can correct.
"""

import io
import re
import unicodedata
from collections.abc import Sequence
from itertools import islice

from qt_pipeline.errors import PermanentError
from qt_pipeline.tabular.guard import BadCsvError
from qt_pipeline.tabular.headers import header_key
from qt_pipeline.tabular.lines import marks_length, records_of
from qt_pipeline.tabular.reader import HEAD_BYTES, Header, OpenStream, read_beginning, read_fully, values_of

_SAMPLE_ROWS = 1000

_SIGNATURES = (
    (rb"%PDF-", "a PDF document"),
    (rb"PK\x03\x04.{0,65536}?(?:\[Content_Types\]\.xml|xl/)", "an Excel workbook"),
    (rb"PK(?:\x03\x04|\x05\x06)", "a zip archive"),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook or another document of Microsoft Office"),
    (rb"\x1f\x8b", "a file that gzip compressed"),
    (rb"\x28\xb5\x2f\xfd|BZh[1-9]1AY&SY|\xfd7zXZ\x00|7z\xbc\xaf\x27\x1c|Rar!\x1a\x07", "a compressed file"),
    (rb"PAR1\x15", "a Parquet file"),
    (rb"SQLite format 3\x00", "a SQLite database"),
    (rb"\{\\rtf", "a document in Rich Text Format"),
    (rb"\xff\xfe|\xfe\xff|.\x00.\x00|\x00.\x00.", "a text in UTF-16: only UTF-8 is read"),
)
_WEB_PAGE = re.compile(rb"<(?:!doctype\s+html|html|head|body)(?![\w,:.-])", re.IGNORECASE)
_MARKUP = re.compile(rb"<(?:!--|!doctype\s|\?[a-z_])", re.IGNORECASE)
_ELEMENT = re.compile(rb"<([A-Za-z_][\w:.-]*)(\s+[\w:.-]+\s*=\s*[\"'][^<>]*|\s*)/?>(\s*<[\w/!?])?", re.DOTALL)
_JSON = re.compile(
    rb"\s*(?:[\[{]\s*[\"{\[]|\{\s*\}\s*\Z"
    rb"|\[\s*(?:(?:-?[0-9][0-9.eE+-]*|true|false|null)\s*(?:,\s*|(?=\])))*\]\s*(?:\Z|[\r\n]))"
)
_SEP_LINE = re.compile(r"sep=.?", re.IGNORECASE)

_USUAL_SEPARATORS = {";": "';'", "\t": "tabs", "|": "'|'"}
_NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_INTEGER = re.compile(r"-?[0-9]+")
_ANY_NUMBER = re.compile(r"\(?[-+]?[£$€]?\s?[0-9,' ]*(?:[0-9]|\.[0-9]+)(?:[eE][-+]?[0-9]+)?\s?%?\)?")
_WITH_DECIMALS = re.compile(r"\(?[-+]?[£$€]?\s?[0-9,' ]*\.[0-9]+(?:[eE][-+]?[0-9]+)?\s?%?\)?")
_DAY = (
    r"(?:[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{4}/[0-9]{1,2}/[0-9]{1,2}"
    r"|[0-9]{1,2}([/. -])(?:[0-9]{1,2}|[A-Za-z]{3,9})\1(?:[0-9]{4}|[0-9]{2}))"
)
_TIME = r"[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,9})?)?(?:\s?[AaPp][Mm]|Z|[+-][0-9]{2}:?[0-9]{2})?"
# What occurs in rows and never as a header: the pattern of the first line's value, and that of the values below it.
# Integers are not among them: years and ages are headers.
_DATA = (
    ("a number with decimals", _WITH_DECIMALS, _ANY_NUMBER),
    ("a date", day := re.compile(_DAY), day),
    ("a timestamp", timestamp := re.compile(rf"{_DAY}[T ]{_TIME}"), timestamp),
    ("a boolean", boolean := re.compile("true|false", re.IGNORECASE), boolean),
    ("a UUID", uuid := re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE), uuid),
    ("an e-mail address", address := re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), address),
)

Row = Sequence[str]


class NotAHeaderError(PermanentError):
    """The first line of a file is not a plausible header. `seems` says what the file seems to be."""

    def __init__(self, seems: str) -> None:
        self.seems = seems
        super().__init__(
            f"The first line of the file is not a header: the file seems to be {seems}.",
            hint="Nothing was loaded. Publish it as CSV in UTF-8: one line of headers, and values separated by commas. "
            "If its first line is the header after all, load it with --first-line-is-header, or set "
            "'first_line_is_header: true' for the dataset in the catalog.",
        )


def read_first_line(open_stream: OpenStream) -> tuple[Header, bytes]:
    """The header, and the first bytes of the file for `check_first_line`.

    Raises:
        EmptyFileError: the file has no bytes.
        NotAHeaderError: the header is unreadable because the file is a document of another kind.
        BadCsvError: the header is unreadable for another reason.
    """
    try:
        return read_beginning(open_stream)
    except BadCsvError:
        with open_stream() as stream:
            kind = document_kind(read_fully(stream, HEAD_BYTES))
        if kind is None:
            raise
        raise NotAHeaderError(kind) from None


def check_first_line(head: bytes, header: Header) -> None:
    """Reject a file whose first line is not a plausible header.

    `head` is the beginning of the file: at least `HEAD_BYTES`, or the whole file if it is shorter.

    Raises:
        NotAHeaderError: names what the file seems to be.
    """
    if seems := document_kind(head) or _first_line_kind(header.names, _first_rows(head, header)):
        raise NotAHeaderError(seems)


def document_kind(head: bytes) -> str | None:
    """The kind of document that begins like this, such as `a web page (HTML)`; None if it may be rows of text."""
    bare = head[marks_length(head) :]
    for signature, kind in _SIGNATURES:
        if re.match(signature, bare, re.DOTALL):
            return kind
    markup = bare.lstrip()
    if _WEB_PAGE.match(markup):
        return "a web page (HTML)"
    if _MARKUP.match(markup) or _is_element(markup):
        return "a web page or an XML document"
    return "a JSON document" if _JSON.match(bare) else None


def _is_element(markup: bytes) -> bool:
    """Whether an XML element begins here, rather than a header such as `<none>,a`."""
    element = _ELEMENT.match(markup)
    if element is None:
        return False
    name, attributes, content = element.groups()
    return bool(attributes.strip() or content or b"</" + name in markup)


def _first_rows(head: bytes, header: Header) -> list[Row]:
    """The complete records below the header that have its width."""
    records = list(islice(records_of(io.BytesIO(head[header.rows_byte :])), _SAMPLE_ROWS + 1))
    if len(head) >= HEAD_BYTES or len(records) > _SAMPLE_ROWS:
        records = records[:-1]
    rows = (values_of(b"".join(record.lines).decode(errors="replace")) for record in records)
    return [row for row in rows if len(row) == len(header.names)]


def _first_line_kind(names: Sequence[str], rows: Sequence[Row]) -> str | None:
    """What a file with these headers and first rows seems to be; None if its first line may be a header."""
    if _SEP_LINE.fullmatch(",".join(names).strip()):
        return "made for Excel, with a line that names its separator ('sep=')"
    return _separated_otherwise(names, rows) or _titled(names, rows) or _without_header(names, rows)


def _separated_otherwise(names: Sequence[str], rows: Sequence[Row]) -> str | None:
    line, *lines = (",".join(row) for row in (names, *rows))
    lines = [text for text in lines if text.strip()]
    commas = len(names) - 1
    for separator, name in _USUAL_SEPARATORS.items():
        count = line.count(separator)
        is_regular = bool(lines) and all(text.count(separator) == count for text in lines)
        if count > commas or (count and is_regular and (count == commas or separator == "\t")):
            return f"separated by {name}: only commas are read"
    if commas or not lines or any(_all_are(values, lines) for _, _, values in _DATA):
        return None
    for separator in sorted(filter(_separates, set(line))):
        if all(text.count(separator) == line.count(separator) for text in lines):
            return f"separated by {separator!r}: only commas are read"
    return None


def _separates(character: str) -> bool:
    return character not in " _" and unicodedata.category(character)[0] not in "LMN"


def _titled(names: Sequence[str], rows: Sequence[Row]) -> str | None:
    # Spreadsheets leave columns without header and values on the right.
    used = [name for place, name in enumerate(names) if not rows or header_key(name) or any(row[place] for row in rows)]
    present = [name for name in used if header_key(name)]
    if not any(character.isalnum() for name in present for character in name):
        return "without a header: its first line has no name of a column"
    is_title = len(used) > 1 and len(present) == 1 and bool(header_key(used[0]))
    if is_title or 2 * len(present) < len(used):
        return "titled: most columns have no header in its first line"
    return None


def _without_header(names: Sequence[str], rows: Sequence[Row]) -> str | None:
    for place, name in enumerate(names):
        values = [row[place] for row in rows]
        for kind, form, form_below in _DATA:
            if form.fullmatch(header_key(name)) and _all_are(form_below, values):
                return f"without a header: its first line has {kind} in column {place + 1}, like the lines below"
    present = [name for name in map(header_key, names) if name]
    if all(map(_NUMBER.fullmatch, present)) and not (not header_key(names[0]) and _are_counted(present)):
        return "without a header: its first line has nothing but numbers"
    return None


def _are_counted(numbers: Sequence[str]) -> bool:
    """Whether these are consecutive integers, such as the years of a triangle whose index has no name."""
    if not all(map(_INTEGER.fullmatch, numbers)):
        return False
    first = int(numbers[0])
    return [int(number) for number in numbers] == list(range(first, first + len(numbers)))


def _all_are(form: re.Pattern[str], values: Sequence[str]) -> bool:
    """Whether there are non-blank values, and all of them match this pattern."""
    present = [value.strip() for value in values if value.strip()]
    return bool(present) and all(map(form.fullmatch, present))

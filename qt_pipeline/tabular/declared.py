"""Types that a person declares in the catalog, and the conversion of text in a declared format to canonical text.

Here: the grammar of declared types; text in a declared format → the canonical text that this package works with.
Not here: what a type can hold (see types), which type canonical text has (see infer).
"""

import re
import reprlib
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qt_pipeline.tabular.drift import MAX_BOUND
from qt_pipeline.tabular.types import ANY_FRACTION, BARE_FORMATS, MAX_DIGITS, TEXT, ColumnType, Kind

_EXAMPLES: Final = {
    "text": "text or text(200)",
    "integer": "integer or integer 1,234",
    "decimal": "decimal(18,2) or decimal(18,2) 1,234.56",
    "boolean": "boolean or boolean Y/N",
    "date": "date or date %d/%m/%Y",
    "timestamp": "timestamp or timestamp %d/%m/%Y %H:%M",
}
_DECLARED: Final = re.compile(r"([a-z]+)\s*(\(\s*[0-9]{1,4}\s*(?:,\s*[0-9]{1,4}\s*)?\))?(?:\s+(\S.*))?")
# The typographic apostrophe, no-break space and narrow no-break space also separate thousands.
_SAMPLE: Final = re.compile("1([,.' \u2019\u00a0\u202f]?)234(?:([,.])56)?")
_PIECE: Final = re.compile(r"%(?:[1-6]f|.?)|[^%]+")
_PARTS: Final[Mapping[str, str]] = {
    "%Y": "year",
    "%m": "month",
    "%b": "month",
    "%d": "day",
    "%H": "hour",
    "%M": "minute",
    "%S": "second",
    "%f": "microsecond",
    **{f"%{digits}f": "microsecond" for digits in range(1, 7)},
}
_DAY: Final = ("year", "month", "day")
_TIME: Final = ("hour", "minute", "second")
_OPTIONAL: Final = ("second", "microsecond")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_CANONICAL_BOOLEANS: Final = ("true", "false")
_CANONICAL_SAMPLE: Final = "1234.56"
_MAX_DECLARATION: Final = 200


class _Marks(NamedTuple):
    """The thousands separator and the decimal separator; empty for none."""

    grouping: str
    decimal: str


def parse_type(text: str) -> ColumnType:
    """The type that `text` declares; `str` of it declares the same type.

    `text`, `text(200)`, `integer`, `decimal(18,2)`, `boolean`, `date`, `timestamp` if the file writes canonical values;
    else followed by the file's format: the number 1234.56 (`decimal(18,2) 1.234,56`, `integer 1,234`), the words for
    true and false (`boolean Y/N`), the directives of a date or timestamp (`date %d-%b-%Y`,
    `timestamp %d/%m/%Y %H:%M`).

    Raises:
        ValueError: `text` declares no type; the message is for the person who wrote it.
    """
    match = _DECLARED.fullmatch(text.strip())
    if match is None or match[1] not in _EXAMPLES:
        hint = " (between { and } quote it)" if text.count("(") > text.count(")") else ""
        raise ValueError(f"{reprlib.repr(text)} is not a type{hint}; the types are {', '.join(_EXAMPLES)}")
    if len(text) > _MAX_DECLARATION:
        raise ValueError(f"{reprlib.repr(text)} is not a type: it is longer than {_MAX_DECLARATION} characters")
    name, sizes, format_ = match[1], tuple(map(int, re.findall("[0-9]+", match[2] or ""))), match[3] or ""
    try:
        return _type_of(Kind(name), sizes, format_)
    except ValueError as error:
        raise ValueError(f"{reprlib.repr(text)} is not a type: {error}; write one such as {_EXAMPLES[name]}") from None


def _type_of(kind: Kind, sizes: tuple[int, ...], format_: str) -> ColumnType:
    match kind, sizes:
        case Kind.TEXT, (length,) if not format_:
            return ColumnType(kind, length=_within(length, 1, MAX_BOUND, "the length"))
        case Kind.TEXT, () if not format_:
            return TEXT
        case Kind.INTEGER, ():
            return ColumnType(kind, format=_number_format(format_, decimals=False))
        case Kind.DECIMAL, (precision, scale):
            _within(precision, 1, MAX_DIGITS, "the number of digits")
            _within(scale, 0, precision, "the number of decimals")
            return ColumnType(kind, precision, scale, format=_number_format(format_, decimals=scale > 0 or None))
        case Kind.BOOLEAN, ():
            return ColumnType(kind, format=_boolean_format(format_))
        case ((Kind.DATE | Kind.TIMESTAMP), ()):
            return ColumnType(kind, format=_time_format(format_ or BARE_FORMATS[kind], kind))
        case _:
            raise ValueError("it has too many or too few parameters")


def _within(number: int, least: int, most: int, label: str) -> int:
    if not least <= number <= most:
        raise ValueError(f"{label} must be from {least} to {most}")
    return number


def _number_format(sample: str, *, decimals: bool | None) -> str:
    """The sample, or nothing if it is canonical. It must (True), must not (False), or may (None) show `decimals`."""
    if not sample:
        return ""
    marks = _marks(sample)
    if marks.decimal and marks.decimal == marks.grouping:
        raise ValueError(f"{marks.decimal!r} cannot separate both thousands and decimals")
    if decimals and not marks.decimal:
        raise ValueError("its format does not show the decimal separator")
    if decimals is False and marks.decimal:
        raise ValueError("an integer has no decimals")
    return sample if marks not in (_Marks("", ""), _Marks("", ".")) else ""


def _marks(sample: str) -> _Marks:
    match = _SAMPLE.fullmatch(sample or _CANONICAL_SAMPLE)
    if match is None:
        raise ValueError(f"the format of a number is {_CANONICAL_SAMPLE}, written as in the file")
    return _Marks(match[1], match[2] or "")


def _boolean_format(format_: str) -> str:
    if not format_:
        return ""
    words = tuple(word.strip() for word in format_.split("/"))
    if len(words) != len(_CANONICAL_BOOLEANS) or not all(words) or words[0].casefold() == words[1].casefold():
        raise ValueError("it needs two different words: the one for true, a '/', the one for false")
    return "" if tuple(word.casefold() for word in words) == _CANONICAL_BOOLEANS else "/".join(words)


def _boolean_words(format_: str) -> tuple[str, str]:
    true, _, false = format_.partition("/")
    return (true, false) if format_ else _CANONICAL_BOOLEANS


def _time_format(format_: str, kind: Kind) -> str:
    if kind is Kind.TIMESTAMP and ColumnType(kind, format=format_).is_canonical:
        return format_
    pieces = _PIECE.findall(format_)
    directives = [piece for piece in pieces if piece.startswith("%")]
    if "%y" in directives:
        raise ValueError("%y is ambiguous, because a two-digit year does not have a century")
    unknown = [directive for directive in directives if directive not in _PARTS]
    if unknown:
        raise ValueError(f"{unknown[0]} is not supported; use %Y %m %d %b, and %H %M %S %f for the time of day")
    parts = [_PARTS[directive] for directive in directives]
    allowed = _DAY if kind is Kind.DATE else (*_DAY, *_TIME, "microsecond")
    for part in dict.fromkeys((*parts, *allowed)):
        if part not in allowed:
            raise ValueError(f"a date has no {part}, a timestamp has")
        if parts.count(part) > 1:
            raise ValueError(f"the {part} occurs twice")
        if part not in parts and part not in _OPTIONAL:
            raise ValueError(f"the {part} is missing")
    if "microsecond" in parts and "second" not in parts:
        raise ValueError("it has a fraction but no second")
    if any(piece == "%f" and not _is_alone(pieces, place) for place, piece in enumerate(pieces)):
        raise ValueError("%f has no fixed width beside other digits; specify its number of digits, such as %3f")
    return format_


def _is_alone(pieces: Sequence[str], place: int) -> bool:
    """Whether no other digit can be adjacent to the digits of this directive, so that their number is unambiguous."""
    before, after = "".join(pieces[place - 1 : place]), "".join(pieces[place + 1 : place + 2])
    return not (
        (before in _PARTS and before != "%b")
        or (after in _PARTS and after != "%b")
        or before[-1:].isdigit()
        or after[:1].isdigit()
    )


def normalize(values: pa.StringArray, type_: ColumnType) -> pa.StringArray:
    """Text in the format that `type_` declares as canonical text of the same value, or `?` if it has another format.

    Numbers as `-1234.56`, dates as `2026-01-31`, timestamps as `2026-01-31 10:00:00` (with six more digits if the
    format has a fraction), booleans as `true` and `false`. Dates that do not exist pass through, and canonical text
    rejects them. A null stays null. Values of a canonical type are returned unchanged.
    """
    if type_.is_canonical or not type_.format:
        return values
    match type_.kind:
        case Kind.BOOLEAN:
            return _normalize_booleans(values, *_boolean_words(type_.format))
        case Kind.INTEGER | Kind.DECIMAL:
            return _normalize_numbers(values, _marks(type_.format))
        case _:
            return _normalize_times(values, _PIECE.findall(type_.format))


def _texts(*texts: str) -> pa.StringArray:
    """A string array made without `pa.array`, which imports pandas."""
    data = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, data)], dtype=np.int32)
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(cast("Any", offsets)), pa.py_buffer(b"".join(data)))


def _constant(text: str) -> pa.StringScalar:
    return _texts(text)[0]


_INVALID: Final = _constant("?")
_MONTH_NAMES: Final = _texts(*(name.lower() for name in _MONTHS))
_MONTH_NUMBERS: Final = _texts(*(f"{number:02}" for number in range(1, 13)))


def _normalize_booleans(values: pa.StringArray, true: str, false: str) -> pa.StringArray:
    is_true, is_false = (_matches(values, f"(?i:{_literally(word)})") for word in (true, false))
    return pc.if_else(is_true, _constant("true"), pc.if_else(is_false, _constant("false"), _INVALID))


def _normalize_numbers(values: pa.StringArray, marks: _Marks) -> pa.StringArray:
    whole = "0|[1-9][0-9]*"
    if marks.grouping:
        whole += f"|[1-9][0-9]{{0,2}}(?:{_literally(marks.grouping)}[0-9]{{3}})+"
    number = f"-?(?:{whole})"
    if marks.decimal:
        point = _literally(marks.decimal)
        number = f"-?(?:(?:{whole})(?:{point}[0-9]*)?|{point}[0-9]+)"
    text = values
    if marks.grouping:
        text = pc.replace_substring(text, marks.grouping, "")
    if marks.decimal not in ("", "."):
        text = pc.replace_substring(text, marks.decimal, ".")
    return pc.if_else(_matches(values, number), text, _INVALID)


def _normalize_times(values: pa.StringArray, pieces: Sequence[str]) -> pa.StringArray:
    arrow: Any = pc  # the stubs lack overloads for these calls
    groups = arrow.extract_regex(values, f"^{''.join(_time_pattern(pieces, place) for place in range(len(pieces)))}$")
    directives = {_PARTS[piece]: piece for piece in pieces if piece in _PARTS}

    def part(name: str) -> pa.StringArray | pa.StringScalar:
        if name not in directives:
            return _constant("00")
        text = arrow.struct_field(groups, name)
        if directives[name] == "%b":
            return _MONTH_NUMBERS.take(arrow.index_in(arrow.ascii_lower(text), value_set=_MONTH_NAMES))
        return arrow.utf8_rpad(text, 6, "0") if name == "microsecond" else arrow.utf8_lpad(text, 2, "0")

    text = arrow.binary_join_element_wise(*map(part, _DAY), _constant("-"))
    if "hour" in directives:
        time = arrow.binary_join_element_wise(*map(part, _TIME), _constant(":"))
        text = arrow.binary_join_element_wise(text, time, _constant(" "))
    if "microsecond" in directives:
        text = arrow.binary_join_element_wise(text, part("microsecond"), _constant("."))
    return arrow.if_else(arrow.or_(arrow.is_valid(text), arrow.is_null(values)), text, _INVALID)


def _time_pattern(pieces: Sequence[str], place: int) -> str:
    piece = pieces[place]
    match piece:
        case "%Y":
            digits = "[0-9]{4}"
        case "%b":
            digits = "[A-Za-z]{3}"
        case "%f":
            digits = "[0-9]{1,6}"
        case "%m" | "%d" | "%H" if _is_alone(pieces, place):
            digits = "[0-9]{1,2}"
        case "%m" | "%d" | "%H" | "%M" | "%S":
            digits = "[0-9]{2}"
        case _ if piece in _PARTS:
            digits = f"[0-9]{{{piece[1]}}}"
        case _:
            return _literally(piece)
    return f"(?P<{_PARTS[piece]}>{digits})"


def _literally(text: str) -> str:
    """An RE2 pattern that matches exactly this text."""
    return "".join(f"\\x{{{ord(character):x}}}" for character in text)


def _matches(values: pa.StringArray, pattern: str) -> pa.BooleanArray:
    return pc.match_substring_regex(values, f"^(?:{pattern})$")


def format_value(value: str | Decimal | int | date | None, type_: ColumnType) -> str | None:
    """Format one value as the file writes it under `type_`, declared or canonical. None is a blank."""
    match value:
        case None | str():
            return value
        case bool():
            true, false = _boolean_words(type_.format)
            return true if value else false
        case date():
            format_ = type_.format or BARE_FORMATS[type_.kind]
            if format_.endswith(ANY_FRACTION):
                has_fraction = isinstance(value, datetime) and value.microsecond > 0
                format_ = format_.removesuffix(ANY_FRACTION) + ".%f" * has_fraction
            pieces = _PIECE.findall(format_)
            return "".join(_format_part(value, piece) for piece in pieces)
        case _:
            marks = _marks(type_.format)
            return f"{Decimal(value):,f}".translate(str.maketrans({",": marks.grouping, ".": marks.decimal or "."}))


def _format_part(at: date, piece: str) -> str:
    # Not strftime: the zeros before a year depend on the platform, the month names on the locale.
    part = _PARTS.get(piece)
    if part is None:
        return piece
    if piece == "%b":
        return _MONTHS[at.month - 1]
    width = {"year": 4, "microsecond": 6}.get(part, 2)
    return f"{getattr(at, part):0{width}}"[: int(piece[1:-1] or width)]

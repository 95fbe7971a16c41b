"""What a text means under a type, by the documents' rules (docs/datasets.md, Types).

Here: declared types and their forms, the narrowest type of undeclared values, Python's own Decimal, date and datetime.
Not here: what becomes of a file (see model).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Context, Decimal
from typing import TypeAlias

Meaning: TypeAlias = Decimal | date | bool | str
"""What a cell says: a number, a day, a moment (a `datetime`), a truth, or nothing but its text."""

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_CANONICAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_LOOSE = re.compile(r"-?(?:0|[1-9][0-9]*)?(?:\.[0-9]*)?")
_PART = re.compile(r"%(?:[1-6]f|[YmdbHMSf])")
_FIRST_YEAR = 1000
_WIDE = Context(prec=500)
PLAIN_DAYS = ("%Y-%m-%d", "%Y%m%d")
_PLAIN_MOMENT = re.compile(r"\d{4}-\d\d-\d\d([ T])\d\d:\d\d(:\d\d(\.\d{1,6})?)?")


class UnreadableError(Exception):
    """A text does not say anything under a type."""


@dataclass(frozen=True)
class Type:
    """A declared type: `form` is how the file writes values, empty for the plain form."""

    kind: str
    form: str = ""
    digits: int = 0
    places: int = 0
    length: int = 0

    @classmethod
    def of(cls, stated: str) -> "Type":
        found = re.fullmatch(
            r"(text|integer|decimal|boolean|date|timestamp)(?:\((\d+)(?:,(\d+))?\))?(?: (.+))?", stated
        )
        assert found is not None, stated
        kind, first, second, form = found.groups()
        if kind == "text":
            return cls(kind, length=int(first or 0))
        return cls(kind, form or "", digits=int(first or 0), places=int(second or 0))


def number(text: str, form: str) -> Decimal:
    """A number written in a form: the number 1234.56 as the file would write it. No form is the plain one."""
    if not form:
        if not _CANONICAL.fullmatch(text):
            raise UnreadableError
        return Decimal(text)
    found = re.fullmatch(r"1([^0-9]?)234(?:([^0-9])56)?", form)
    assert found is not None, form
    thousands, point = found[1], found[2] or ""
    whole, _, fraction = text.removeprefix("-").partition(point) if point else (text.removeprefix("-"), "", "")
    grouped = bool(thousands) and re.fullmatch(rf"[0-9]{{1,3}}(?:{re.escape(thousands)}[0-9]{{3}})+", whole)
    if not (grouped or re.fullmatch("[0-9]+", whole)) or not re.fullmatch("[0-9]*", fraction):
        raise UnreadableError
    if point and point in text and not fraction:
        raise UnreadableError
    digits = whole.replace(thousands, "") if thousands else whole
    return Decimal(("-" if text.startswith("-") else "") + digits + (f".{fraction}" if fraction else ""))


def moment(text: str, form: str) -> datetime:
    """A day or a moment written in a form of %-parts; one digit of a day, month or hour is read too."""
    pattern, at = "", 0
    for part in _PART.finditer(form):
        pattern += re.escape(form[at : part.start()])
        letter = part[0][-1]
        size = {"Y": "{4}", "m": "{1,2}", "d": "{1,2}", "H": "{1,2}", "M": "{2}", "S": "{2}", "f": "{1,6}"}.get(letter)
        if part[0][1].isdigit():
            size = f"{{{part[0][1]}}}"
        pattern += f"(?P<{letter}>[A-Za-z]{{3}})" if letter == "b" else f"(?P<{letter}>[0-9]{size})"
        at = part.end()
    found = re.fullmatch(pattern + re.escape(form[at:]), text)
    if found is None:
        raise UnreadableError
    parts = found.groupdict()
    month = parts.get("b")
    if month is not None and month.lower() not in _MONTHS:
        raise UnreadableError
    try:
        return datetime(  # noqa: DTZ001  # files have no zones
            int(parts["Y"]),
            _MONTHS.index(month.lower()) + 1 if month else int(parts["m"]),
            int(parts["d"]),
            int(parts.get("H") or 0),
            int(parts.get("M") or 0),
            int(parts.get("S") or 0),
            int((parts.get("f") or "").ljust(6, "0")),
        )
    except ValueError:
        raise UnreadableError from None


def truth(text: str, form: str) -> bool:
    yes, no = (form or "true/false").lower().split("/")
    if text.lower() not in {yes, no}:
        raise UnreadableError
    return text.lower() == yes


def meaning(text: str, kind: str, form: str) -> Meaning:
    """What a text says in a column of a kind, whose values are written in a form (empty: in any plain one).

    Raises:
        UnreadableError: it cannot stand there without a change.
    """
    if kind == "text":
        return text
    if kind in {"integer", "decimal"}:
        if form:
            return number(text, form)
        # `.5`, `5.` and `-0` are numbers as they stand; with leading zeros, another sign or an exponent they are not.
        if not _LOOSE.fullmatch(text) or not re.search("[0-9]", text):
            raise UnreadableError
        if kind == "integer" and not text.removeprefix("-").isdigit():
            raise UnreadableError
        return Decimal(text)
    if kind == "boolean":
        return truth(text, form)
    if kind == "date":
        return _first(text, (form,) if form else PLAIN_DAYS, strict=not form).date()
    assert kind == "timestamp", kind
    return _first(text, (form,), strict=False) if form else _plain_moment(text)


def _first(text: str, forms: Iterable[str], *, strict: bool) -> datetime:
    for form in forms:
        try:
            found = moment(text, form)
        except UnreadableError:
            continue
        if not strict or len(text) == len(form) + 2:
            return found
    raise UnreadableError


def _plain_moment(text: str) -> datetime:
    if not _PLAIN_MOMENT.fullmatch(text):
        raise UnreadableError
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise UnreadableError from None


def fits(text: str, declared: Type) -> bool | None:
    """Whether a value is in the declared form; None where the documents leave it open."""
    try:
        found = meaning(text, declared.kind, declared.form)
    except UnreadableError:
        return _is_refused(text, declared)
    if isinstance(found, Decimal):
        return _fits_number(text, found, declared)
    if isinstance(found, date):
        return True if found.year >= _FIRST_YEAR and text == _rewritten(found, declared) else None
    if declared.length:
        return len(text.encode("utf-16-le")) // 2 <= declared.length
    return True


def _fits_number(text: str, found: Decimal, declared: Type) -> bool | None:
    places = declared.places if declared.kind == "decimal" else 0
    bounded = _is_int64(found) if declared.kind == "integer" else abs(found) < Decimal(10) ** (declared.digits - places)
    if not bounded or found != found.quantize(Decimal(1).scaleb(-places), context=_WIDE):
        return False
    clear = (declared.form or _CANONICAL.fullmatch(text)) and not re.match("0[0-9]", re.sub("[^0-9]", "", text))
    return True if clear and -int(found.as_tuple().exponent) <= places else None


def _rewritten(found: date, declared: Type) -> str:
    """The value written in the longest way of its form, or nothing where that is not one way."""
    form = declared.form or ("%Y-%m-%d" if declared.kind == "date" else "%Y-%m-%d %H:%M:%S")
    if "f" in form or "b" in form:
        return ""
    return found.strftime(form)


def _is_refused(text: str, declared: Type) -> bool | None:
    """False where no reading of the documents lets the value in; None where one might."""
    if declared.kind in {"integer", "decimal"} and re.search(r"^[-+]?[\s0-9.,']*$", text):
        return None if re.match(r"[-+]?0[0-9]|\+|[-+]?[.,]|.*[.,]$", text) or text.strip() != text else False
    if declared.kind in {"date", "timestamp"} and not declared.form:
        return None if re.match(r"\d", text) else False
    return False


def _is_int64(found: Decimal) -> bool:
    return -(2**63) <= found < 2**63


def is_canonical(text: str) -> bool:
    return bool(_CANONICAL.fullmatch(text)) and not (text[0] == "-" and not Decimal(text))


def loses_sign(texts: Iterable[str]) -> bool:
    """Whether all are numbers, and a zero among them has a minus sign: they are text in a new column."""
    values = [text for text in texts if text]
    negative_zeros = [value for value in values if _CANONICAL.fullmatch(value) and not is_canonical(value)]
    return bool(negative_zeros) and all(map(_CANONICAL.fullmatch, values))


def narrowest(texts: Iterable[str]) -> str | None:
    """The kind that the documents give to undeclared values; None where they leave it open, "blank" for none."""
    values = [text for text in texts if text]
    if not values:
        return "blank"
    if all(map(is_canonical, values)):
        numbers = [Decimal(value) for value in values]
        if all(value.removeprefix("-").isdigit() for value in values):
            return "integer" if all(map(_is_int64, numbers)) else None
        # A last zero that some values have and others have not may tell them apart, so that they are text.
        places = {len(value.partition(".")[2]) for value in values}
        uniform = len(places) == 1 or not any("." in value and value.endswith("0") for value in values)
        return "decimal" if uniform and digits_of(values)[0] <= 30 else None  # room to grow is open
    for kind, is_one in (("boolean", _is_truth), ("date", _is_day), ("timestamp", _is_moment)):
        if all(map(is_one, values)):
            return kind
    return "text" if any(map(_is_surely_text, values)) else None


def _is_truth(text: str) -> bool:
    return text.lower() in {"true", "false"}


def digits_of(values: Iterable[str]) -> tuple[int, int]:
    """The digits that a decimal column needs for canonical numbers, and how many of them stand after the point."""
    whole = places = 0
    for value in values:
        before, _, after = value.removeprefix("-").partition(".")
        whole, places = max(whole, len(before)), max(places, len(after))
    return whole + places, places


def _is_day(text: str) -> bool:
    try:
        return moment(text, "%Y-%m-%d").year >= 1000 and len(text) == len("2026-01-31")
    except UnreadableError:
        return False


def _is_moment(text: str) -> bool:
    """A moment as the documents write it; other ways may be read too, which they leave open."""
    try:
        found = moment(text, "%Y-%m-%d %H:%M:%S")
    except UnreadableError:
        return False
    return found.year >= _FIRST_YEAR and len(text) == len("2026-01-31 10:00:00")


def _is_surely_text(text: str) -> bool:
    """No number, day, moment or truth under any reading."""
    return bool(re.fullmatch(r"[^\d]*[A-Za-z]{2}[^\d]*", text)) and text.lower() not in {"true", "false"}

"""A failing life becomes as short as its fault allows.

Here: steps, rows, columns, values and rules are left out as long as the same kind of disagreement remains. Bounded by
a number of tries. Not here: leading a life (see stage).
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from qt_pipeline_tests.oracle.csvfile import CsvFaultError, CsvText, Record, read
from qt_pipeline_tests.oracle.life import Life, Load, Rules, Step

_TRIES = 400
_SMALL = 4000


def shrink(life: Life, fails: Callable[[Life], bool], *, tries: int = _TRIES) -> Life:
    """The shortest life found that still fails."""
    left = tries
    progress = True
    while progress and left > 0:
        progress = False
        for shorter in _shorter(life):
            if left <= 0:
                break
            left -= 1
            if fails(shorter):
                life = shorter
                progress = True
                break
    return life


def _shorter(life: Life) -> Iterator[Life]:
    steps = life.steps
    size = len(steps) // 2
    while size:
        for start in range(0, len(steps) - size + 1, size):
            yield life.but(steps[:start] + steps[start + size :])
        size //= 2
    if life.block:
        yield replace(life, block=0)
    for place, step in enumerate(steps):
        if isinstance(step, Rules):
            yield from (
                life.but((*steps[:place], Rules(step.dataset, entry), *steps[place + 1 :]))
                for entry in _less(step.entry)
            )
        if isinstance(step, Load) and (step.dry or step.force):
            yield life.but((*steps[:place], replace(step, dry=False, force=False), *steps[place + 1 :]))
    yield from _files(life)


def _less(entry: Any) -> Iterator[dict[str, Any]]:
    for key in entry:
        if key != "table":
            yield {name: value for name, value in entry.items() if name != key}
    for header in entry.get("columns", {}):
        yield {**entry, "columns": {name: value for name, value in entry["columns"].items() if name != header}}


def _files(life: Life) -> Iterator[Life]:
    """Smaller files; one that comes several times shrinks everywhere."""
    files = list(dict.fromkeys(step.data for step in life.steps if isinstance(step, Load)))
    texts: dict[bytes, CsvText] = {}
    for data in files:
        try:
            texts[data] = read(data)
        except CsvFaultError:
            continue
    for header in dict.fromkeys(name for text in texts.values() for name in text.header):
        yield _with(life, {data: _without_column(data, text, header) for data, text in texts.items()})
    for shorter in (_fewer_rows, _shorter_values):
        for data, text in texts.items():
            for other in shorter(data, text):
                yield _with(life, {data: other})


def _fewer_rows(data: bytes, text: CsvText) -> Iterator[bytes]:
    size = len(text.rows)
    while size:
        for start in range(0, len(text.rows), size):
            cut = text.rows[start : start + size]
            yield data[: cut[0].start] + data[cut[-1].end :]
        size //= 2


def _shorter_values(data: bytes, text: CsvText) -> Iterator[bytes]:
    if len(data) > _SMALL:
        return
    for record in text.rows:
        for field in record.fields:
            for shorter in (b"", b"1", b"a", *_halves(field.raw)):
                if len(shorter) < len(field.raw):
                    yield data[: field.start] + shorter + data[field.end :]


def _halves(raw: bytes) -> Iterator[bytes]:
    text = raw.decode()
    inner, mark = (text[1:-1], '"') if text.startswith('"') else (text, "")
    half = len(inner) // 2
    for part in (inner[:half], inner[half:], inner[1:], inner[:-1]):
        yield f"{mark}{part}{mark}".encode()


def _without_column(data: bytes, text: CsvText, header: str) -> bytes:
    if header not in text.header or len(text.header) == 1:
        return data
    place = text.header.index(header)
    rows = [_record_without(data, record, place) for record in text.records]
    return data[: text.records[0].start] + b"".join(rows)


def _record_without(data: bytes, record: Record, place: int) -> bytes:
    fields = [field.raw for number, field in enumerate(record.fields) if number != place]
    return b",".join(fields) + data[record.fields[-1].end : record.end]


def _with(life: Life, files: dict[bytes, bytes]) -> Life:
    steps: list[Step] = [
        replace(step, data=files.get(step.data, step.data)) if isinstance(step, Load) else step for step in life.steps
    ]
    return life.but(tuple(steps))

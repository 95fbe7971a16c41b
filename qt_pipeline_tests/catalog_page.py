"""The tables of keys in docs/datasets.md, generated from the catalog's model.

Here: how a field becomes a row. Not here: the meaning and default of a key (see `qt_pipeline/catalog/model.py`).
"""

from collections.abc import Iterator, Mapping
from enum import Enum
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from qt_pipeline.catalog.model import AfterPublish, DeclaredColumn, Entry, File, Policies
from qt_pipeline.settings import PROJECT_ROOT
from qt_pipeline.tabular import ColumnType
from qt_pipeline_tests.blocks import fill_blocks

DATASETS = PROJECT_ROOT / "docs" / "datasets.md"

_DEFAULT = " Default: "
_LINKS = {
    "policy": "[Policies](#policies)",
    "mode": "[Modes](#modes)",
    "type": "[Types](#types)",
    "lineage_columns": "[Lineage columns](targets.md#lineage-columns)",
    "first_line_is_header": "[The first line](#the-first-line)",
}
_VALUES = {str: "text", ColumnType: "a type", tuple: "list of headers", int: "integer", float: "number"}
_MAPPINGS = {
    "defaults": "keys, see below",
    "datasets": "by id: keys, see below",
    "columns": "by header: a type, or keys, see below",
    "after_publish": "SQL, or keys, see below",
}


def datasets_text() -> str:
    """Return the text of the page with its current tables."""
    return fill_blocks(DATASETS, {"keys": "\n\n".join(_tables())})


def _tables() -> Iterator[str]:
    shared = set(Policies.model_fields)
    for title, model, skipped in (
        ("At the top of the file:", File, set[str]()),
        ("Under `defaults` and under each dataset:", Policies, set[str]()),
        ("Only under a dataset:", Entry, shared),
        ("Under a header in `columns`:", DeclaredColumn, set[str]()),
        ("Under `after_publish`:", AfterPublish, set[str]()),
    ):
        rows = [_row(name, field) for name, field in _fields(model).items() if name not in skipped]
        yield "\n".join([title, "", "| key | value | meaning | default |", "|---|---|---|---|", *rows])


def _fields(model: type[BaseModel]) -> Mapping[str, FieldInfo]:
    return model.model_fields


def _row(name: str, field: FieldInfo) -> str:
    key = field.alias or name
    meaning, _, default = (field.description or "").partition(_DEFAULT)
    link = f" {_LINKS[key]}." if key in _LINKS else ""
    cells = (
        f"`{key}`",
        _MAPPINGS.get(key) or _value(field),
        f"{meaning}{link}",
        default.rstrip(".") or _default(field),
    )
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _value(field: FieldInfo) -> str:
    limits = [_limit(limit) for limit in (*field.metadata, *_nested_limits(field.annotation))]
    return ", ".join([_kind(field.annotation), *filter(None, limits)])


def _nested_limits(annotation: Any) -> Iterator[object]:
    for part in get_args(annotation):
        yield from getattr(part, "__metadata__", ())


def _limit(limit: object) -> str:
    match limit:
        case Ge(bound):
            return f"at least {bound}"
        case Gt(bound):
            return f"above {bound}"
        case Le(bound):
            return f"at most {bound}"
        case _:
            return ""


def _kind(annotation: Any) -> str:
    """Name the values that a key takes."""
    origin = get_origin(annotation)
    if origin is Literal:
        return _alternatives(get_args(annotation))
    if origin in (Union, UnionType):
        return _kind(next(part for part in get_args(annotation) if part is not type(None)))
    if hasattr(annotation, "__metadata__"):
        return _kind(annotation.__origin__)
    if annotation is bool:
        return _alternatives(("true", "false"))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _alternatives(member.value for member in annotation)
    return _VALUES[origin or annotation]


def _alternatives(values: Any) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    match field.default:
        case bool(value):
            return f"`{str(value).lower()}`"
        case Enum() as member:
            return f"`{member.value}`"
        case str(text):
            return f"`{text}`"
        case _:
            return "none"

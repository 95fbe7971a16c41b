"""The data model of the catalog: its keys, their limits and defaults.

Here: the keys with their descriptions, and the JSON Schema made from them.
Not here: reading a file and reporting its faults (see reader), what a declared type means (see tabular).
"""

import hashlib
import json
import reprlib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    InstanceOf,
    Strict,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import CoreSchema

from qt_pipeline.tabular import MAX_FORMAT, ColumnType, Naming, header_keys, parse_type
from qt_pipeline.values import DATASET_ID_PATTERN, DriftPolicy, WriteMode, is_dataset_id


def _column_type(value: object) -> object:
    type_ = parse_type(value) if isinstance(value, str) else value
    if isinstance(type_, ColumnType) and len(type_.format) > MAX_FORMAT:
        raise ValueError(f"has a format of {len(type_.format)} characters; at most {MAX_FORMAT} are allowed")
    return type_


def _dataset_id(text: str) -> str:
    if not is_dataset_id(text):
        raise ValueError(f"{reprlib.repr(text)} cannot be the id of a dataset")
    return text


def _different(headers: tuple[str, ...]) -> tuple[str, ...]:
    if len(header_keys(headers)) < len(headers):
        raise ValueError("names a header twice")
    return headers


_TYPE_SCHEMA: JsonSchemaValue = {
    "type": "string",
    "minLength": 4,
    "examples": [
        *("text", "text(200)", "integer", "integer 1,234", "decimal(18,2)", "decimal(18,2) 1.234,56"),
        *("boolean", "boolean Y/N", "date", "date %d/%m/%Y", "timestamp", "timestamp %d/%m/%Y %H:%M"),
    ],
}
_Flag = Annotated[bool, Strict()]
_Name = Annotated[str, Field(min_length=1, max_length=120)]
_Header = Annotated[str, Field(min_length=1)]
_Type = Annotated[InstanceOf[ColumnType], BeforeValidator(_column_type), WithJsonSchema(_TYPE_SCHEMA)]
_DatasetId = Annotated[str, AfterValidator(_dataset_id)]


class _Stated(BaseModel):
    """A part of the catalog. Unknown keys are rejected, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class _StatedOrText(_Stated):
    """A part that may also be given as text: the value of its first key."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, stated: object) -> object:
        return {next(iter(cls.model_fields)): stated} if isinstance(stated, str) else stated

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema of the text form, or of the mapping."""
        keys = handler.resolve_ref_schema(handler(core_schema))
        first = next(iter(keys["properties"].values()))
        text = next(kind for kind in first.get("anyOf", [first]) if kind["type"] == "string")
        return {"anyOf": [text, keys]}


class DeclaredColumn(_StatedOrText):
    """The declaration of one column: its type alone, or a mapping."""

    type: _Type | None = Field(
        default=None, description="The type, and the format of the file's values if it is not the canonical one."
    )
    description: str | None = Field(default=None, description="What the column contains.")
    required: _Flag = Field(default=False, description="A row without a value in this column fails the load.")


class AfterPublish(_StatedOrText):
    """A statement to run after a load."""

    sql: str = Field(
        min_length=1,
        description="One SQL statement, such as the call of a procedure. It must not end a transaction that it did not "
        "begin.",
    )
    in_transaction: _Flag = Field(
        default=True,
        description="Run it in the publishing transaction, which rolls back if it fails; otherwise right after it.",
    )


class Policies(_Stated):
    """Settings of a dataset, or under `defaults` of every dataset that does not set them."""

    owner: str | None = Field(default=None, description="Who is responsible for the dataset.")
    empty: Literal["keep", "replace"] = Field(
        default="keep",
        description="A file without rows fails the load (keep), or is loaded like any other (replace), which empties a "
        "table of mode replace.",
    )
    show_values: _Flag = Field(
        default=False, description="Values of rows may appear in the UI, in messages and in files of invalid values."
    )
    table_schema: _Name | None = Field(
        default=None,
        alias="schema",
        description="The table's schema, if the target database has schemas. Default: QT_WAREHOUSE_SCHEMA.",
    )
    naming: Naming = Field(
        default=Naming.VERBATIM,
        description="Columns are named as in the file (verbatim), or in snake_case: `Gross Premium (GBP)` becomes "
        "`gross_premium_gbp`. Columns that a table already has keep their names.",
    )
    policy: DriftPolicy = Field(
        default=DriftPolicy.ADDITIVE,
        description="Which differences between file and table are accepted: new columns and wider types of the same "
        "family (additive), any wider type and missing columns too (evolve), or none (freeze).",
    )
    mode: WriteMode = Field(
        default=WriteMode.REPLACE,
        description="What a load does to the rows of the table: replaces them (replace), keeps them all (append), or "
        "replaces those whose key is in the file (upsert).",
    )
    lineage_columns: _Flag = Field(
        default=True,
        description="The table has the lineage columns _qt_load and _qt_row. With false, which needs mode replace, a "
        "new table has none; a table that has them keeps them.",
    )
    min_rows: Annotated[int, Strict()] | None = Field(
        default=None, ge=0, description="A file with fewer rows fails the load. Default: no guard."
    )
    max_drop_percent: Annotated[float, Strict()] | None = Field(
        default=None,
        ge=0,
        le=100,
        allow_inf_nan=False,
        description="A file whose number of rows is lower than that of the last loaded file, by more than this "
        "percentage, fails the load. Default: no guard.",
    )
    fresh_within_hours: Annotated[float, Strict()] | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="The dataset is stale, which a check and an alert report, if no download was loaded or found "
        "unchanged for this many hours. Default: never stale.",
    )


class _Details(Policies):
    name: str | None = Field(default=None, description="The dataset's name for people.")
    description: str | None = Field(default=None, description="What the dataset contains.")
    key: Annotated[tuple[_Header, ...], AfterValidator(_different)] = Field(
        default_factory=tuple,
        min_length=1,
        json_schema_extra={"uniqueItems": True},
        description="The headers whose values together identify a row: a row without one of them, or two rows that "
        "share them all, fail the load. Required by mode upsert.",
    )
    adopt: _Flag = Field(default=False, description="Take over an existing table that this project did not create.")
    first_line_is_header: _Flag = Field(
        default=False,
        description="The first line of a file is its header, even if it looks like a title, a row of data or a line "
        "with other separators.",
    )
    columns: Mapping[str, DeclaredColumn] = Field(
        default_factory=dict[str, DeclaredColumn],
        description="Types and descriptions of columns. A header that neither file nor table has is a warning. "
        "Default: inferred from the file.",
    )
    after_publish: AfterPublish | None = Field(default=None, description="A statement to run after a load.")


class Entry(_Details):
    """One listed dataset."""

    table: _Name | None = Field(
        default=None,
        description="The table. Two datasets cannot share one; names that differ only in case are one table, except on "
        "PostgreSQL. Default: the dataset's id with - as _.",
    )


class Dataset(_Details):
    """One dataset id with all its settings, defaults filled in."""

    model_config = ConfigDict(populate_by_name=True)

    id: str
    table: str

    @property
    def label(self) -> str:
        """The dataset's display name: its name, else its table."""
        return self.name or self.table

    @property
    def required(self) -> tuple[str, ...]:
        """The headers of the columns in which every row has a value."""
        return tuple(header for header, column in self.columns.items() if column.required)

    @property
    def rules(self) -> str:
        """A hash of everything that decides how a file becomes rows: if it changes, the same file is loaded again."""
        decisive = {
            "schema": self.table_schema,
            "table": self.table,
            "naming": self.naming,
            "policy": self.policy,
            "mode": self.mode,
            "key": self.key,
            "lineage_columns": self.lineage_columns,
            "columns": {header: str(column.type) for header, column in self.columns.items() if column.type},
            "empty": self.empty,
            "after_publish": self.after_publish and self.after_publish.model_dump(),
            # Only if set: a later key must not change the hash of older catalogs.
            **({"required": self.required} if self.required else {}),
        }
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Contradictory settings, with the defaults filled in: the key, and the reason."""
        if self.mode is WriteMode.UPSERT and not self.key:
            yield "mode", "upsert needs 'key', the headers that identify a row"
        if self.mode is not WriteMode.REPLACE and not self.lineage_columns:
            yield "lineage_columns", "can be false only with 'mode: replace'; other modes need to know a row's load"


class File(_Stated):
    """The catalog of datasets: the table of each, and its settings."""

    model_config = ConfigDict(title="qt_pipeline: catalog of datasets")

    unlisted: Literal["load", "refuse"] = Field(
        default="load", description="Datasets that are not listed are loaded with the defaults, or refused."
    )
    defaults: Policies = Field(default_factory=Policies, description="Values for every dataset that does not set them.")
    datasets: dict[_DatasetId, Entry] = Field(
        default_factory=dict[str, Entry],
        json_schema_extra={"propertyNames": {"pattern": f"^{DATASET_ID_PATTERN}$"}},
        description="The datasets, by their ids in Quantemplate.",
    )


def catalog_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the catalog, for editors. `load_catalog` checks more than it can express."""
    schema = File.model_json_schema(schema_generator=_WithoutTitles)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


class _WithoutTitles(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002  # inherited
        """No key gets a title: it would only repeat its name."""
        return False

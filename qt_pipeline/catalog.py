"""The catalog `datasets.yaml`: which table a dataset id goes to, and what is allowed for it.

Here: reading and checking it, and the answer for one dataset id, listed or not.
Not here: column types (see tabular), how a table is written (see warehouse).
"""

from collections.abc import Hashable
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from qt_pipeline.errors import ConfigurationError
from qt_pipeline.values import is_dataset_id


class Policies(BaseModel):
    """What the catalog says of a dataset, or under `defaults` of every dataset that does not say it itself.

    `empty` is what a file without rows does: `keep` fails the load and keeps the table, `replace` empties it.
    `show_values` lets values of rows appear in the Dagster UI and in messages: datasets hold personal data.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    owner: str | None = None
    empty: Literal["keep", "replace"] = "keep"
    show_values: bool = False


class Entry(Policies):
    """One dataset as it is listed. Without `table`, the table has the dataset's id with `-` as `_`."""

    table: str | None = Field(default=None, min_length=1, max_length=120)
    name: str | None = None
    description: str | None = None


class Dataset(Policies):
    """One dataset id with everything the catalog says of it, defaults filled in."""

    id: str
    table: str
    name: str | None
    description: str | None

    @property
    def label(self) -> str:
        """What a person calls the dataset: its name, else its table."""
        return self.name or self.table


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    defaults: Policies = Policies()
    datasets: dict[str, Entry] = {}


class Catalog:
    """The datasets that are listed, and the rules for all others. Read with `load_catalog`."""

    def __init__(self, file: _File) -> None:
        self._defaults = file.defaults.model_dump(exclude_unset=True)
        self._datasets = {dataset_id: self._resolve(dataset_id, entry) for dataset_id, entry in file.datasets.items()}

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """The datasets that the catalog lists."""
        return tuple(self._datasets.values())

    def dataset(self, dataset_id: str) -> Dataset:
        """The rules for a dataset id, listed or not.

        Raises:
            ConfigurationError: it cannot be one. A person may add any text as a partition, and an id becomes a folder.
        """
        if not is_dataset_id(dataset_id):
            raise ConfigurationError(
                f"{dataset_id!r} cannot be the id of a dataset.", todo="Remove this partition, and add the right id."
            )
        return self._datasets.get(dataset_id) or self._resolve(dataset_id, Entry())

    def _resolve(self, dataset_id: str, entry: Entry) -> Dataset:
        policies = self._defaults | entry.model_dump(exclude_unset=True)
        names = {"name": entry.name, "description": entry.description}
        return Dataset.model_validate(
            policies | names | {"id": dataset_id, "table": entry.table or dataset_id.replace("-", "_")}
        )


class _UniqueKeys(yaml.SafeLoader):
    """YAML whose keys are unique, as YAML 1.2 (3.2.1.1) has it; PyYAML lets the last of two win without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:  # inherited
        """The mapping of a node; refuses a key that occurs twice."""
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} occurs twice", key.start_mark)
            if isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def load_catalog(path: Path) -> Catalog:
    """Read the catalog at `path`; a file that does not exist is an empty catalog.

    Raises:
        ConfigurationError: the file is not a catalog; the message names the place and the reason.
    """
    if not path.exists():
        return Catalog(_File())
    try:
        document: object = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)  # noqa: S506  # a SafeLoader
        file = _File.model_validate({} if document is None else document)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise _refused(path, f"line {mark.line + 1 if mark else '?'}: {error.problem}") from None
    except OSError as error:
        raise _refused(path, f"it cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, yaml.YAMLError):
        raise _refused(path, "it is not a YAML text in UTF-8") from None
    except ValidationError as error:
        faults = (f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors())
        raise _refused(path, "; ".join(faults)) from None
    catalog = Catalog(file)
    owners: dict[str, str] = {}
    for dataset in catalog.datasets:
        if not is_dataset_id(dataset.id):
            raise _refused(path, f"datasets: {dataset.id!r} cannot be the id of a dataset")
        other = owners.setdefault(dataset.table.casefold(), dataset.id)
        if other != dataset.id:
            raise _refused(path, f"datasets {other} and {dataset.id} both go to the table {dataset.table!r}")
    return catalog


def _refused(path: Path, reason: str) -> ConfigurationError:
    return ConfigurationError(f"The catalog {path} is not valid: {reason}.", todo="Correct it and try again.")

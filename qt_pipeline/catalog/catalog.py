"""The catalog: the rules for a dataset id, listed or not.

Here: defaults filled in, contradictions between settings that are valid alone.
Not here: the keys and their meaning (see model), the file (see reader).
"""

from collections.abc import Iterator
from pathlib import Path

from qt_pipeline.catalog.model import Dataset, Entry, File
from qt_pipeline.database import NameMatching
from qt_pipeline.errors import ConfigurationError, FailureScope
from qt_pipeline.values import is_dataset_id

Position = tuple[str | int, ...]
"""A position in the catalog: the path of keys and indexes to it."""
CatalogFault = tuple[Position, str]
"""A position and what is wrong there."""


class UnlistedDatasetError(ConfigurationError):
    """The catalog loads only the datasets that it lists, and this one is not listed."""

    scope = FailureScope.DATASET


class Catalog:
    """The listed datasets, and the rules for all others. Read with `load_catalog`."""

    def __init__(self, file: File, path: Path) -> None:
        self._path = path
        self._file = file
        self._datasets = {dataset_id: self._resolve(dataset_id, entry) for dataset_id, entry in file.datasets.items()}

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """The datasets that the catalog lists."""
        return tuple(self._datasets.values())

    def accepts(self, dataset_id: str) -> bool:
        """Whether the dataset is to be loaded: it is listed, or unlisted datasets are loaded too."""
        return dataset_id in self._datasets or (self._file.unlisted == "load" and is_dataset_id(dataset_id))

    def dataset(self, dataset_id: str) -> Dataset:
        """The rules for a dataset id, listed or not.

        Raises:
            ConfigurationError: it is not a dataset id. A person may add any text as a partition, and an id names a
                folder.
            UnlistedDatasetError: it is not listed, and the catalog does not load unlisted datasets.
        """
        if not is_dataset_id(dataset_id):
            raise ConfigurationError(
                f"{dataset_id!r} cannot be the id of a dataset.", hint="Remove this partition, and add the right id."
            )
        if not self.accepts(dataset_id):
            raise UnlistedDatasetError(
                f"It is not in the catalog {self._path}, which refuses datasets that it does not list.",
                hint="List it under 'datasets', or set 'unlisted: load'.",
                dataset_id=dataset_id,
            )
        return self._datasets.get(dataset_id) or self._resolve(dataset_id, Entry())

    def faults(self, names: NameMatching) -> Iterator[CatalogFault]:
        """Contradictions between settings that are valid alone. `names` decides which table names are the same."""
        owners: dict[tuple[str | None, str], str] = {}
        for dataset in self.datasets:
            yield from ((("datasets", dataset.id, key), reason) for key, reason in dataset.contradictions())
            schema = dataset.table_schema and names.fold(dataset.table_schema)
            other = owners.setdefault((schema, names.fold(dataset.table)), dataset.id)
            if other != dataset.id:
                reason = f"{other} and {dataset.id} both go to the table {dataset.table!r}"
                yield ("datasets", dataset.id), reason
        if self._file.unlisted == "load":
            unlisted = self._resolve("unlisted", Entry())
            context = "unlisted datasets are loaded with the defaults; set it for each dataset, or refuse unlisted ones"
            yield from ((("defaults", key), f"{reason}: {context}") for key, reason in unlisted.contradictions())

    def _resolve(self, dataset_id: str, entry: Entry) -> Dataset:
        values = {key: getattr(level, key) for level in (self._file.defaults, entry) for key in level.model_fields_set}
        return Dataset.model_validate(
            values | {"id": dataset_id, "table": entry.table or dataset_id.replace("-", "_")},
        )

"""The catalog `datasets.yaml`: the table, columns, write mode and policies of each dataset.

Here: reading and validating it, the rules for a dataset id, listed or not, and its JSON Schema for editors.
Not here: what a declared type means (see tabular), how a table is written (see warehouse).
"""

from qt_pipeline.catalog.catalog import Catalog, UnlistedDatasetError
from qt_pipeline.catalog.model import AfterPublish, Dataset, DeclaredColumn, catalog_schema
from qt_pipeline.catalog.reader import catalog_for, faults_in, load_catalog

__all__ = [
    "AfterPublish",
    "Catalog",
    "Dataset",
    "DeclaredColumn",
    "UnlistedDatasetError",
    "catalog_for",
    "catalog_schema",
    "faults_in",
    "load_catalog",
]

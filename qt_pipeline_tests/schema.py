"""The published JSON Schema of the catalog: `python -m qt_pipeline_tests.generated` writes it anew."""

import json
from pathlib import Path

from qt_pipeline.catalog import catalog_schema

PUBLISHED = Path(__file__).parent.parent / "docs" / "datasets.schema.json"


def schema_text() -> str:
    """The text of the file."""
    return json.dumps(catalog_schema(), indent=2, ensure_ascii=False) + "\n"

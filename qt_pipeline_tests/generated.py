"""Files generated from the code: `python -m qt_pipeline_tests.generated` writes them."""

from collections.abc import Callable, Mapping
from pathlib import Path

from qt_pipeline_tests.catalog_page import DATASETS, datasets_text
from qt_pipeline_tests.configuration import CONFIGURATION, configuration_text
from qt_pipeline_tests.operating import OPERATING, operating_text
from qt_pipeline_tests.schema import PUBLISHED, schema_text

GENERATED: Mapping[Path, Callable[[], str]] = {
    PUBLISHED: schema_text,
    CONFIGURATION: configuration_text,
    DATASETS: datasets_text,
    OPERATING: operating_text,
}


def main() -> None:
    """Write every generated file."""
    for path, text in GENERATED.items():
        path.write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()

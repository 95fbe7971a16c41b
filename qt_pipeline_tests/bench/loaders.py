"""`python -m qt_pipeline_tests.bench.loaders NAME FILE TARGET`: one loader, once, in a process of its own.

Here: ours and those it is compared with, each in its plainest correct form. It prints the seconds that the work took,
imports left out, and the most memory that the process ever had. Not here: what is made of the figures (see loading).
"""

import json
import logging
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

TABLE = "bordereau"


def ours(file: Path, target: str) -> Callable[[], None]:
    from qt_pipeline.catalog import load_catalog
    from qt_pipeline.ingest import load_file, local_file
    from qt_pipeline.warehouse import open_warehouse

    dataset = load_catalog(Path("no catalog")).dataset(TABLE)

    def work() -> None:
        source = local_file(file, run_id="benchmark")
        load_file(open_warehouse(target), dataset, source, force=True)

    return work


def pandas(file: Path, target: str) -> Callable[[], None]:
    import pandas as pd
    from sqlalchemy import create_engine

    def work() -> None:
        with create_engine(target.replace("postgresql://", "postgresql+psycopg://")).begin() as connection:
            frame = pd.read_csv(file, parse_dates=["Inception Date", "Expiry Date"], dtype={"Postcode": str})
            frame.to_sql(TABLE, connection, if_exists="replace", index=False, chunksize=10_000)

    return work


def dlt_fastest(file: Path, target: str) -> Callable[[], None]:
    return _dlt(file, target, loader_file_format="parquet")


def dlt_default(file: Path, target: str) -> Callable[[], None]:
    return _dlt(file, target, loader_file_format=None)


def _dlt(file: Path, target: str, *, loader_file_format: str | None) -> Callable[[], None]:
    import dlt
    import pyarrow.csv as pacsv

    def tables():  # noqa: ANN202  # a generator of Arrow batches, as dlt takes them
        yield from pacsv.open_csv(file, read_options=pacsv.ReadOptions(block_size=16 << 20))

    def rows():  # noqa: ANN202  # dlt's own way for rows of plain Python
        for batch in tables():
            yield batch.to_pylist()

    source = tables if loader_file_format else rows

    form = loader_file_format or "default"

    def work() -> None:
        pipeline = dlt.pipeline(
            f"benchmark_{form}",
            # It wants a host and a password, needed or not.
            destination=dlt.destinations.postgres(
                target.replace("//postgres:@/", "//postgres:none@localhost/"), replace_strategy="insert-from-staging"
            ),
            dataset_name=f"dlt_{form}",
            pipelines_dir=str(file.parent / "dlt"),
        )
        pipeline.run(source(), table_name=TABLE, write_disposition="replace", loader_file_format=loader_file_format)

    return work


def bulkcopy(file: Path, target: str) -> Callable[[], None]:
    """Raw `bulkcopy_arrow` of typed batches into a bare table of SQL Server."""
    import pyarrow as pa
    import pyarrow.csv as pacsv
    from sqlalchemy import create_engine

    from qt_pipeline_tests.bench.bordereau import HEADERS, SQL_TYPES

    sql = {"text": "NVARCHAR(100)", "numeric": "DECIMAL(15,2)", "boolean": "BIT"}
    arrow = {"text": pa.string(), "numeric": pa.decimal128(15, 2), "date": pa.date32(), "bigint": pa.int64()}
    types = dict(zip(HEADERS, SQL_TYPES, strict=True))

    def work() -> None:
        with create_engine(target).connect() as connection:
            columns = ", ".join(f"[{name}] {sql.get(type_, type_)}" for name, type_ in types.items())
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS [{TABLE}_raw]; CREATE TABLE [{TABLE}_raw] ({columns})")
            connection.commit()
            convert = pacsv.ConvertOptions(column_types={n: arrow.get(t, pa.bool_()) for n, t in types.items()})
            reader = pacsv.open_csv(file, convert_options=convert)
            connection.connection.driver_connection.cursor().bulkcopy_arrow(
                f"[{TABLE}_raw]", reader, timeout=0, table_lock=True
            )

    return work


def fast_executemany(file: Path, target: str) -> Callable[[], None]:
    """`pandas.to_sql` over pyodbc with `fast_executemany`."""
    import pandas as pd
    from sqlalchemy import create_engine

    def work() -> None:
        engine = create_engine(target, fast_executemany=True)
        frame = pd.read_csv(file, parse_dates=["Inception Date", "Expiry Date"], dtype={"Postcode": str})
        frame.to_sql(f"{TABLE}_pandas", engine, if_exists="replace", index=False, chunksize=10_000)

    return work


LOADERS = (ours, pandas, dlt_fastest, dlt_default, bulkcopy, fast_executemany)


def main(name: str, file: Path, target: str) -> None:
    logging.disable(logging.WARNING)
    work = next(loader for loader in LOADERS if loader.__name__ == name)(file, target)
    began = time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    sys.stdout.write(json.dumps({"seconds": seconds, "memory": _peak_memory()}) + "\n")


def _peak_memory() -> int:
    status = Path("/proc/self/status")
    if status.exists():
        # Unlike getrusage, this forgets what the process was before it became Python.
        [line] = [line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])

"""Who may read a table may read it after every refresh."""

import pytest

from qt_pipeline_tests.warehouse.engines import Postgres, SqlServer
from qt_pipeline_tests.warehouse.loading import load


@pytest.mark.parametrize("server", ["postgres", "sqlserver"])
def test_grants_a_dependent_view_and_an_index_survive_refreshes_and_an_added_column(
    request: pytest.FixtureRequest, server: str
) -> None:
    engine: Postgres | SqlServer = request.getfixturevalue(server)
    warehouse = engine.open()
    load(warehouse, b"Name,Paid\nAnn,1.50\n")
    engine.make_view("names", f'SELECT "Name" FROM {engine.table()}')
    engine.make_index("by_name", "Name")
    with engine.analyst(engine.table(), engine.table("names")) as ask:
        load(warehouse, b"Name,Paid\nBob,2.50\n")
        load(warehouse, b"Name,Paid,New\nCleo,3.12345,x\n")
        assert ask(f'SELECT "Name", "New" FROM {engine.table()}') == [("Cleo", "x")]
        assert ask(f"SELECT * FROM {engine.table('names')}") == [("Cleo",)]
    assert "by_name" in engine.indexes()

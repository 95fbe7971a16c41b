"""What people are shown of a database's URL."""

import pytest

from qt_pipeline.database import redacted_database_url


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://loader:hunter2@db.example.com:5432/warehouse",
        "postgresql://loader@db.example.com/warehouse?password=hunter2",
        "mssql+mssqlpython://loader:hunter2@db.example.com/warehouse?Encrypt=yes",
        "mssql+pyodbc:///?odbc_connect=Server%3Ddb.example.com%3BPwd%3Dhunter2",
    ],
)
def test_no_secret_of_a_url_is_shown(url: str) -> None:
    assert "hunter2" not in redacted_database_url(url)


def test_the_server_and_the_database_are_named() -> None:
    address = redacted_database_url("postgresql+psycopg://loader:hunter2@db.example.com:5432/warehouse?sslmode=require")
    assert address == "postgresql+psycopg://loader:***@db.example.com:5432/warehouse"


def test_a_file_is_named_by_its_path() -> None:
    assert redacted_database_url("sqlite:////var/lib/qt/warehouse.db") == "/var/lib/qt/warehouse.db"

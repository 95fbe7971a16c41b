"""Database addresses for messages, without secrets."""

from sqlalchemy import URL, make_url

from qt_pipeline.urls import is_unclear_database

_HIDDEN = "***"


def redacted_database_url(url: URL | str) -> str:
    """A file's path, or a URL without its password and its query, which may also hold secrets."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return str(parsed.database or "")
    if isinstance(url, str) and is_unclear_database(url):
        # A part of its password may be parsed as the host.
        return f"{parsed.drivername}://{_HIDDEN}"
    return parsed.set(query={}).render_as_string(hide_password=True)

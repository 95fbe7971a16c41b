"""Where a database is, in words for people."""

from sqlalchemy import URL, make_url


def address_of(url: URL | str) -> str:
    """A file's path, or a URL without its password and without its query, which may hold secrets just as well."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return str(parsed.database or "")
    return parsed.set(query={}).render_as_string(hide_password=True)

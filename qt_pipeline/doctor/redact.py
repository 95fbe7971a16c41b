"""Removes secrets from the doctor's findings.

Here: the final redaction of every text. Not here: redacting a URL (see urls).
"""

from collections.abc import Iterable, Iterator
from urllib.parse import parse_qsl, unquote

from pydantic import SecretStr

from qt_pipeline.settings import Settings

_HIDDEN = "***"
# Shorter secrets would match ordinary words, and short query values of a URL are no secrets.
_MIN_LENGTH = 4
_SHORTEST_QUERY = 9


class Redactor:
    """Replaces every secret of the settings in a text."""

    def __init__(self, settings: Settings) -> None:
        # The longest first, because one may be part of another.
        self._secrets = sorted(set(_secrets(settings)), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """The text without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        return text


def _secrets(settings: Settings) -> Iterator[str]:
    for name in type(settings).model_fields:
        for value in _each(getattr(settings, name)):
            if isinstance(value, SecretStr):
                yield from _in_url(value.get_secret_value())
                if len(value.get_secret_value()) >= _MIN_LENGTH:
                    yield value.get_secret_value()
            elif isinstance(value, str) and "://" in value:
                yield from _in_url(value)


def _each(value: object) -> Iterable[object]:
    return value if isinstance(value, tuple) else (value,)  # pyright: ignore[reportUnknownVariableType]  # of anything


def _in_url(url: str) -> Iterator[str]:
    """The password and the longer query values of a URL, both encoded and decoded."""
    _, _, behind = url.partition("://")
    user_and_password = behind.rpartition("@")[0]
    password = user_and_password.partition(":")[2]
    # It may hold a question mark.
    query = behind.rpartition("@" if password else "://")[2].partition("?")[2]
    raw = [password]
    raw += [value for part in query.split("&") if len(value := part.partition("=")[2]) >= _SHORTEST_QUERY]
    raw += [value for _, value in parse_qsl(query) if len(value) >= _SHORTEST_QUERY]
    yield from (form for value in raw for form in (value, unquote(value)) if len(form) >= _MIN_LENGTH)

"""Keeping secrets out of what the doctor says.

Here: the last check of every text. Not here: how a URL is shown (see urls), the texts themselves.
"""

from collections.abc import Iterable, Iterator
from urllib.parse import parse_qsl, unquote

from pydantic import SecretStr

from qt_pipeline.settings import Settings

_HIDDEN = "***"
# What is shorter would be found within innocent words; and nobody's secret is what a URL says in a word or two.
_MIN_LENGTH = 4
_SHORTEST_QUERY = 9


class Redactor:
    """Hides every secret that the settings hold, wherever it stands in a text."""

    def __init__(self, settings: Settings) -> None:
        # The longest first: one may be a part of another.
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
    """The password and the longer values of the query, as they stand there and as they are meant."""
    _, _, behind = url.partition("://")
    user_and_password = behind.rpartition("@")[0]
    password = user_and_password.partition(":")[2]
    # It may hold a question mark.
    query = behind.rpartition("@" if password else "://")[2].partition("?")[2]
    raw = [password]
    raw += [value for part in query.split("&") if len(value := part.partition("=")[2]) >= _SHORTEST_QUERY]
    raw += [value for _, value in parse_qsl(query) if len(value) >= _SHORTEST_QUERY]
    yield from (form for value in raw for form in (value, unquote(value)) if len(form) >= _MIN_LENGTH)

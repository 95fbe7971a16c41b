"""Questions to a person at a terminal, each of which an option can answer.

Here: how one asks, and asks again. Not here: what is asked (see init).
"""

from collections.abc import Callable, Sequence

import typer

from qt_pipeline.errors import ConfigurationError
from qt_pipeline.settings import validate_setting, variable_of


class Questions:
    """Asks, if it `may_ask`; otherwise what is not given and not known is missing."""

    def __init__(self, may_ask: bool) -> None:
        self.may_ask = may_ask

    def text(self, name: str, label: str, given: str | None, known: str | None) -> str:
        """The value of a setting: as `given` by an option, or by the person, who may keep what is `known`."""
        return self._value(name, given, known) or self._ask(name, label, known, hide=False)

    def secret(self, name: str, label: str, given: str | None, known: str | None) -> str:
        """The same, not shown while it is typed."""
        label = f"{label} (empty keeps the present one)" if known else label
        return self._value(name, given, known) or self._ask(name, label, known, hide=True)

    def check(self, name: str, value: str) -> None:
        """Return if this can be the value of a setting.

        Raises:
            typer.BadParameter: it cannot, and why.
        """
        if fault := validate_setting(name, value):
            raise typer.BadParameter(f"{_option(name)}: {fault}.")

    def optional(self, label: str, default: str = "") -> str:
        """A text, which may be empty."""
        return str(typer.prompt(label, default=default, show_default=bool(default))).strip()

    def hidden(self, label: str) -> str:
        """A text that is not shown while it is typed, and may be empty."""
        return str(typer.prompt(label, default="", show_default=False, hide_input=True))

    def choice(self, label: str, choices: Sequence[str]) -> str:
        """One of several words, the first by default."""
        while True:
            answer = self.optional(f"{label} ({', '.join(choices)})", default=choices[0])
            if answer in choices:
                return answer
            self.complain(f"There is no {answer!r}")

    def confirm(self, question: str, *, default: bool) -> bool:
        """Yes or no."""
        return typer.confirm(question, default=default)

    def secrets(self, label: str, problem: Callable[[str], str]) -> str:
        """A text that is not shown while it is typed and may be empty; asked for until it has no `problem`."""
        while (answer := self.hidden(label).strip()) and (reason := problem(answer)):
            self.complain(reason)
        return answer

    def complain(self, reason: str) -> None:
        """Say what is wrong with an answer."""
        typer.secho(f"{reason}. Again:", fg=typer.colors.YELLOW)

    def _value(self, name: str, given: str | None, known: str | None) -> str | None:
        """What needs no question."""
        if given is not None:
            self.check(name, given)
            if not given:
                raise typer.BadParameter(f"{_option(name)} is empty.")
            return given
        if self.may_ask:
            return None
        if not known:
            raise ConfigurationError(
                f"{variable_of(name)} is not known.", hint=f"Give {_option(name)}, or set it in the environment."
            )
        return known

    def _ask(self, name: str, label: str, known: str | None, *, hide: bool) -> str:
        while True:
            answer = self.hidden(label) if hide else self.optional(label, default=known or "")
            value = answer or known or ""
            if fault := (validate_setting(name, value) if value else "It is needed"):
                self.complain(f"{variable_of(name)}: {fault}")
            else:
                return value


def _option(name: str) -> str:
    return "--client-secret-stdin" if name == "client_secret" else f"--{name.replace('_', '-')}"

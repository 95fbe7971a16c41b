"""Interactive prompts, each of which an option can replace.

Here: prompting and validation. Not here: the questions (see init).
"""

from collections.abc import Callable, Sequence

import typer

from qt_pipeline.errors import ConfigurationError
from qt_pipeline.settings import validate_setting, variable_of


class Questions:
    """Prompts if `may_ask`; otherwise a value that is neither given nor known is an error."""

    def __init__(self, may_ask: bool) -> None:
        self.may_ask = may_ask

    def text(self, name: str, label: str, given: str | None, known: str | None) -> str:
        """The value of a setting: `given` by an option, or answered by a person, who may keep the `known` value."""
        return self._value(name, given, known) or self._ask(name, label, known, hide=False)

    def secret(self, name: str, label: str, given: str | None, known: str | None) -> str:
        """Like `text`, with hidden input."""
        label = f"{label} (empty keeps the current one)" if known else label
        return self._value(name, given, known) or self._ask(name, label, known, hide=True)

    def check(self, name: str, value: str) -> None:
        """Check that a value is valid for a setting.

        Raises:
            typer.BadParameter: the value is invalid; the message has the reason.
        """
        if fault := validate_setting(name, value):
            raise typer.BadParameter(f"{_option(name)}: {fault}.")

    def optional(self, label: str, default: str = "") -> str:
        """Prompt for a text that may be empty."""
        return str(typer.prompt(label, default=default, show_default=bool(default))).strip()

    def hidden(self, label: str) -> str:
        """Prompt with hidden input for a text that may be empty."""
        return str(typer.prompt(label, default="", show_default=False, hide_input=True))

    def choice(self, label: str, choices: Sequence[str]) -> str:
        """Prompt for one of several choices; the first is the default."""
        while True:
            answer = self.optional(f"{label} ({', '.join(choices)})", default=choices[0])
            if answer in choices:
                return answer
            self.complain(f"{answer!r} is not a choice")

    def confirm(self, question: str, *, default: bool) -> bool:
        """Prompt for yes or no."""
        return typer.confirm(question, default=default)

    def secrets(self, label: str, problem: Callable[[str], str]) -> str:
        """Prompt with hidden input, repeatedly until the text is empty or `problem` returns no reason."""
        while (answer := self.hidden(label).strip()) and (reason := problem(answer)):
            self.complain(reason)
        return answer

    def complain(self, reason: str) -> None:
        """Print why an answer is invalid."""
        typer.secho(f"{reason}. Try again:", fg=typer.colors.YELLOW)

    def _value(self, name: str, given: str | None, known: str | None) -> str | None:
        """The value if no prompt is needed."""
        if given is not None:
            self.check(name, given)
            if not given:
                raise typer.BadParameter(f"{_option(name)} is empty.")
            return given
        if self.may_ask:
            return None
        if not known:
            raise ConfigurationError(
                f"{variable_of(name)} is not set.", hint=f"Pass {_option(name)}, or set it in the environment."
            )
        return known

    def _ask(self, name: str, label: str, known: str | None, *, hide: bool) -> str:
        while True:
            answer = self.hidden(label) if hide else self.optional(label, default=known or "")
            value = answer or known or ""
            if fault := (validate_setting(name, value) if value else "a value is required"):
                self.complain(f"{variable_of(name)}: {fault}")
            else:
                return value


def _option(name: str) -> str:
    return "--client-secret-stdin" if name == "client_secret" else f"--{name.replace('_', '-')}"

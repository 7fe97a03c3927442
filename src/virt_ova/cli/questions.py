"""Questions on a terminal: properties that nobody gave, and licences. Asked on stderr, answered on stdin."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from getpass import getpass
from typing import Final

from virt_ova.cli.console import licence, say
from virt_ova.plan.properties import Asked
from virt_ova.plan.values import describe_type, problem_of
from virt_ova.text import printable

_DESCRIPTION: Final = 2000
"""Most characters of a property's description."""

_WIDTH: Final = 100
"""Widest line of running text."""


def can_ask(*, is_json: bool) -> bool:
    """Whether a person is there: both ends are a terminal, and no program reads the result."""
    return not is_json and sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def ask_login(prompt: str, *, is_secret: bool) -> str:
    """Ask who logs in; see `virt_ova.target.importing.Ask`."""
    if not is_secret:
        return _line(prompt)
    try:
        return getpass(prompt)
    except EOFError:
        return ""


def ask_properties(missing: Sequence[Asked]) -> dict[str, str]:
    """Ask for each; one that is left empty is not in the result."""
    if missing:
        say("The package asks for these properties. Enter alone leaves one out.")
    plain = [each.definition.key for each in missing]
    answers = {}
    for each in missing:
        name = each.names[0] if plain.count(each.definition.key) == 1 else each.names[1]
        if answer := _ask_property(each, printable(name)):
            answers[name] = answer
    return answers


def ask_eulas(texts: Iterable[str]) -> bool:
    """Show each licence by the page, and ask whether it is accepted; False as soon as one is not."""
    return all(_ask_eula(text) for text in texts)


def _ask_property(asked: Asked, name: str) -> str:
    """A value that fits, or nothing."""
    prop = asked.definition
    say("")
    _explain(printable(prop.label, limit=_DESCRIPTION))
    _explain(printable(prop.description, limit=_DESCRIPTION))
    if expected := describe_type(prop):
        _explain(f"expected: {expected}")
    while True:
        answer = _hidden(f"{name}: ") if prop.password else _line(f"{name}: ")
        problem = problem_of(prop, answer) if answer else ""
        if not problem:
            return answer
        say(f"  {problem}")


def _explain(text: str) -> None:
    for line in textwrap.wrap(text, width=_width() - 2):
        say(f"  {line}")


def _width() -> int:
    return min(shutil.get_terminal_size().columns, _WIDTH)


def _line(prompt: str) -> str:
    """A line that was typed; empty at the end of the input."""
    sys.stderr.write(prompt)
    sys.stderr.flush()
    return sys.stdin.readline().rstrip("\r\n")


def _hidden(prompt: str) -> str:
    """A line that is typed twice and not shown."""
    while True:
        try:
            first = getpass(prompt)
            if not first or getpass("the same again: ") == first:
                return first
        except EOFError:
            return ""
        say("  the two differ")


def _ask_eula(text: str) -> bool:
    say("")
    say("The package has this licence:")
    lines = [part for line in licence(text) for part in textwrap.wrap(line, width=_width()) or [""]]
    page = max(shutil.get_terminal_size().lines - 2, 5)
    for number, line in enumerate(lines):
        if number and number % page == 0:
            _line(f"-- {len(lines) - number} more lines; Enter goes on -- ")
        say(line)
    return _line("Do you accept it? (yes/no) ").strip().lower() in {"yes", "y"}

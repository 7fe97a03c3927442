"""The command line's grammar: what every verb shares, and errors of usage."""

from __future__ import annotations

import argparse
from typing import Final, NoReturn

from virt_ova.cli.console import Console
from virt_ova.errors import VirtOvaError

SOURCE_HELP: Final = (
    "an .ova, .ovf or .vmx, a folder that holds one, the http(s) URL of an .ova, or - for standard input"
)


class UsageError(VirtOvaError):
    """The command line makes no sense; exit status 2."""

    def __init__(self, message: str, *, hint: str = "Run 'virt-ova --help'.") -> None:
        super().__init__(message, code="E_USAGE", hint=hint)


class Parser(argparse.ArgumentParser):
    """Raises `UsageError` instead of exiting, so that every failure is told in one way."""

    def error(self, message: str) -> NoReturn:
        """See `argparse.ArgumentParser.error`."""
        raise UsageError(message, hint=f"Run '{self.prog} --help'.")

    def _check_value(self, action: argparse.Action, value: object) -> None:
        """An empty text is no value: in a script it is a variable without one, and nobody means the default by it."""
        if value == "":
            raise argparse.ArgumentError(action, "expected a value, found an empty text")
        super()._check_value(action, value)

    def _print_message(self, message: str, _file: object = None) -> None:
        """``--help``, written as every other result is."""
        Console(is_json=False).write(message.rstrip("\n"))


def add_locale(parser: argparse.ArgumentParser) -> None:
    """The language of the package's texts."""
    parser.add_argument(
        "--locale", metavar="LANG", default="", help="language of the package's texts, as de-DE, where it has them"
    )


def add_strict(parser: argparse.ArgumentParser) -> None:
    """Whether warnings are errors."""
    parser.add_argument("--strict", action="store_true", help="refuse a package of which there is any warning")


def add_source(parser: argparse.ArgumentParser) -> None:
    """The package."""
    parser.add_argument("source", metavar="SOURCE", help=SOURCE_HELP)

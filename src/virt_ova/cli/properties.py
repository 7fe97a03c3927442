"""Values of properties from the command line, a file and the environment.

Everyone on a host can read a command line, so a password is not taken from there.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from virt_ova.cli.console import say
from virt_ova.cli.given import read_given
from virt_ova.cli.parser import UsageError
from virt_ova.errors import PlanError
from virt_ova.ovf.envelope import Envelope
from virt_ova.plan.properties import Asked, properties_of
from virt_ova.text import quoted

MAX_FILE_BYTES: Final = 1 << 20

PREFIX: Final = "VIRT_OVA_PROPERTY_"
"""Of the environment's variables; the key follows in capitals, with ``_`` for all that is no letter or digit."""


def given_properties(args: argparse.Namespace, envelope: Envelope) -> dict[str, str]:
    """What the user gave: ``--property``, else ``--property-file``, else the environment.

    Raises:
        UsageError: an option or the file makes no sense.
        PlanError: a password is on the command line, or a variable could be for two properties (``E_PROPERTY``).
    """
    asked = properties_of(envelope)
    said = _unique((_pair(text, asked, "--property") for text in args.properties), "--property")
    for name in said:
        if _is_password(name, asked):
            raise PlanError(
                f"the property {quoted(name)} is a password, and a command line can be read by everyone",
                code="E_PROPERTY",
                hint=f"Give it with --property-file, as {variable_of(name)}, or when asked on a terminal.",
            )
    filed = _from_file(args.property_file, asked) if args.property_file else {}
    return {**_from_environment(asked), **filed, **said}


def variable_of(name: str) -> str:
    """The environment's variable for a property."""
    return PREFIX + re.sub("[^A-Za-z0-9]", "_", name).upper()


def _is_password(name: str, asked: Iterable[Asked]) -> bool:
    return any(name in each.names and each.definition.password for each in asked)


def _pair(text: str, asked: Iterable[Asked], where: str) -> tuple[str, str]:
    """``KEY=VALUE``: the longest key that the package has, else all before the first ``=``."""
    begin = text.lstrip()
    known = [name for each in asked for name in each.names if begin.startswith(f"{name}=")]
    if known:
        key = max(known, key=len)
        return key, begin.removeprefix(f"{key}=")
    key, separator, value = text.partition("=")
    if not (separator and key.strip()):
        raise UsageError(f"{where}: expected KEY=VALUE, found no '=' behind a key")
    return key.strip(), value


def _unique(pairs: Iterable[tuple[str, str]], where: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for key, value in pairs:
        if key in values:
            raise UsageError(f"{where}: the property {quoted(key)} is there twice")
        values[key] = value
    return values


def _from_file(path: str, asked: Sequence[Asked]) -> dict[str, str]:
    """The file's values; says so when others can read passwords in it."""
    where = f"--property-file {quoted(path)}"
    given = read_given(path, "--property-file", most_bytes=MAX_FILE_BYTES)
    try:
        text = given.data.decode()
    except UnicodeDecodeError as exc:
        raise UsageError(f"{where}: it is not UTF-8") from exc
    values = _unique(_lines(text, asked, where), where)
    if given.mode & (stat.S_IRGRP | stat.S_IROTH) and any(_is_password(name, asked) for name in values):
        say(f"note: {where} holds a password, and others can read it: chmod 600")
    return values


def _lines(text: str, asked: Sequence[Asked], where: str) -> Iterator[tuple[str, str]]:
    """Pairs of a file's lines; empty ones and those that begin with ``#`` are passed over."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            here = f"{where}, line {number}"
            key, value = _pair(line.removesuffix("\r"), asked, here)
            yield key, _unquoted(value, here)


def _unquoted(value: str, where: str) -> str:
    """A value that begins with a double quote is a JSON string, so that it can hold line feeds."""
    if not value.startswith('"'):
        return value
    try:
        text = json.loads(value)
    except ValueError as exc:
        raise UsageError(f"{where}: a value that begins with a double quote must be a JSON string") from exc
    return str(text)


def _from_environment(asked: Iterable[Asked]) -> dict[str, str]:
    """The values of variables that are set."""
    names = dict.fromkeys(name for each in asked for name in each.names)
    takers: dict[str, str] = {}
    for name in names:
        variable = variable_of(name)
        if variable in os.environ and takers.setdefault(variable, name) != name:
            raise PlanError(
                f"the variable {variable} could be for {quoted(takers[variable])} or for {quoted(name)}",
                code="E_PROPERTY",
                hint="Give them with --property or --property-file.",
            )
    return {name: os.environ[variable] for variable, name in takers.items()}

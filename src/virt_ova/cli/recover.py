"""``virt-ova recover``: finish or undo installs that were killed."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict

from virt_ova.cli.console import Console
from virt_ova.cli.monitors import monitor
from virt_ova.cli.questions import ask_login, can_ask
from virt_ova.stories.recover import Outcome, RecoveredInstall, recover
from virt_ova.target.newfile import SCHEME
from virt_ova.text import printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See the module."""
    parser.add_argument("-c", "--connect", metavar="URI", help="only installs on this target (default: all)")


def run(args: argparse.Namespace, console: Console) -> int:
    """Recover all, and tell what became of each; 3 when something stays."""
    with monitor(quiet=console.is_json) as listener:
        ask = ask_login if can_ask(is_json=console.is_json) else None
        installs = recover(args.connect, monitor=listener, ask=ask)
    lines = [line for install in installs for line in _lines(install)]
    console.document({"installs": [asdict(each) for each in installs]}, lines or ["Nothing to recover"])
    return 3 if any(install.left for install in installs) else 0


def _lines(install: RecoveredInstall) -> Iterator[str]:
    """One install for people."""
    journal = printable(install.journal)
    made = "" if install.target.startswith(SCHEME) else f"{printable(', '.join(install.machines)) or 'an install'} on "
    what = f"{made}{printable(install.target)}, begun {printable(install.begun)}" if install.target else journal
    match install.outcome:
        case Outcome.FINISHED:
            yield f"Finished: {what}; it is whole"
        case Outcome.UNDONE:
            yield f"Undone: {what}"
        case Outcome.INCOMPLETE:
            yield f"Something is left: {what}"
    yield from (f"  left alone, because others have it by now: {printable(each)}" for each in install.foreign)
    for left in install.left:
        yield f"  {printable(left.object)}: {left.message}" if left.object else f"  {left.message}"
        if left.hint:
            yield f"    hint: {left.hint}"
    if install.left:
        yield f"  journal: {journal}"

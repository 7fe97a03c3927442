"""From words to a verb, and from whatever happens to an exit status."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

from virt_ova.cli.console import Console, OutputError
from virt_ova.cli.failure import failure_of, print_trace, status_of
from virt_ova.cli.parser import Parser
from virt_ova.interrupt import STOP_SIGNALS, Interrupted, let_pass
from virt_ova.memory import let_go

VERBS: Final = {
    "inspect": "show what a package holds",
    "disks": "list the disks: name, size, offset in the package",
    "descriptor": "print the descriptor",
    "verify": "check the manifest, and who signed it",
    "plan": "print what an install would do, as JSON",
    "install": "install a package",
    "recover": "finish or undo installs that were killed",
    "convert": "write one disk to a local file",
    "export": "write a machine of ESXi or vCenter to an OVA",
    "targets": "list where packages can be installed",
}


def run(words: Sequence[str]) -> int:
    """Do what `words` say, and return the exit status; nothing is raised but `SystemExit` of ``--help``."""
    console = Console(is_json="--json" in words)
    _replace_closed_streams()
    try:
        return _run_verb(words, console)
    except BrokenPipeError:
        return 128 + signal.SIGPIPE
    except OutputError:
        return 1  # what was to be told in JSON was told on stderr


def _run_verb(words: Sequence[str], console: Console) -> int:
    try:
        args = _parse(words)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        status: int = args.run(args, console)
    except BrokenPipeError:
        raise
    except (Exception, Interrupted) as exc:  # noqa: BLE001 - the last line of defence: whatever it is, it is told in one way
        let_pass()
        print_trace(exc)
        if isinstance(exc, MemoryError):
            let_go(exc)
        console.error(failure_of(exc))
        return status_of(exc)
    return status


def _parse(words: Sequence[str]) -> argparse.Namespace:
    """What `words` say; only the module of the verb that they name is loaded. Raises `UsageError`."""
    about = "Install virtual appliances (OVA/OVF packages) on hypervisors."
    parser = Parser(prog="virt-ova", description=about, allow_abbrev=False)
    parser.add_argument("--version", action=_PrintVersion, nargs=0, help="print the version")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    wanted = next((word for word in words if not word.startswith("-")), "")
    for verb, summary in VERBS.items():
        verb_parser = verbs.add_parser(
            verb, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", allow_abbrev=False
        )
        verb_parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")
        if verb == wanted:
            module = import_module(f"virt_ova.cli.{verb}")
            module.add_arguments(verb_parser)
            verb_parser.set_defaults(run=module.run)
    return parser.parse_args(words)


def _replace_closed_streams() -> None:
    """Who closes stdout or stderr (``>&-``) does not want to read them."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115, PTH123 - open as long as we run
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115, PTH123 - as above


class _PrintVersion(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version  # noqa: PLC0415 - slow to load

        Console(is_json=False).write(f"virt-ova {version('virt-ova')}")
        parser.exit()

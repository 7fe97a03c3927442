"""The command line: a thin layer over the library, one module per verb.

Exit status: 0 done, 1 failed, 2 usage, 3 undoing a failed install left something behind, 128 + N stopped by signal N
(130 for Ctrl-C).
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

from virt_ova.cli.console import Console, interrupted
from virt_ova.cli.parser import Parser, UsageError
from virt_ova.errors import RollbackError, VirtOvaError
from virt_ova.interrupt import Interrupted, let_pass, raise_on_stop_signals

VERBS: Final = {
    "inspect": "show what a package holds",
    "disks": "list the disks: name, size, offset in the package",
    "descriptor": "print the descriptor",
    "verify": "check the manifest",
    "plan": "print what an install would do, as JSON",
    "install": "install a package",
    "convert": "write one disk to a local file",
    "targets": "list where packages can be installed",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    words = sys.argv[1:] if argv is None else list(argv)
    console = Console(is_json="--json" in words)
    _replace_closed_streams()
    raise_on_stop_signals()
    try:
        return _run(words, console)
    except UsageError as exc:
        console.error(exc)
        return 2
    except RollbackError as exc:
        console.error(exc)
        return 3
    except VirtOvaError as exc:
        console.error(exc)
        return 1
    except BrokenPipeError:
        return 128 + signal.SIGPIPE
    except Interrupted as exc:
        let_pass()
        console.error(interrupted(exc))
        return 128 + exc.signum


def _run(words: Sequence[str], console: Console) -> int:
    """Parse `words`; only the module of the verb that they name is loaded."""
    about = "Install virtual appliances (OVA/OVF packages) on hypervisors."
    parser = Parser(prog="virt-ova", description=about, allow_abbrev=False)
    parser.add_argument("--version", action=_PrintVersion, nargs=0, help="print the version")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    wanted = next((word for word in words if not word.startswith("-")), "")
    for verb, summary in VERBS.items():
        verb_parser = verbs.add_parser(verb, help=summary, description=f"{summary.capitalize()}.", allow_abbrev=False)
        verb_parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")
        if verb == wanted:
            module = import_module(f"virt_ova.cli.{verb}")
            module.add_arguments(verb_parser)
            verb_parser.set_defaults(run=module.run)
    args = parser.parse_args(words)
    status: int = args.run(args, console)
    return status


def _replace_closed_streams() -> None:
    """Who closes stdout or stderr (``>&-``) does not want to read them."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115, PTH123 - open as long as we run
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115, PTH123 - as above


class _PrintVersion(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version  # noqa: PLC0415 - slow to load

        sys.stdout.write(f"virt-ova {version('virt-ova')}\n")
        parser.exit()

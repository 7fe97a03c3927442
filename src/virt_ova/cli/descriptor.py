"""``virt-ova descriptor``: the descriptor byte for byte."""

from __future__ import annotations

import argparse

from virt_ova.cli.console import Console
from virt_ova.cli.parser import add_source
from virt_ova.package.package import open_package


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See the module."""
    add_source(parser)
    parser.add_argument("--format", choices=["ovf"], default="ovf", help="what to print (default: ovf)")


def run(args: argparse.Namespace, console: Console) -> int:
    """Print it."""
    with open_package(args.source) as package:
        if console.is_json:
            text = package.descriptor.decode("utf-8", "replace")
            console.document({"name": package.descriptor_member.name, "descriptor": text}, ())
        else:
            console.write_bytes(package.descriptor)
    return 0

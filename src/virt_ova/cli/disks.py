"""``virt-ova disks``: the proposal's ``get_vmdks``."""

from __future__ import annotations

import argparse

from virt_ova.cli.console import Console, table
from virt_ova.cli.parser import add_source
from virt_ova.package.document import disks_document
from virt_ova.package.package import PackageDisk, open_package
from virt_ova.text import printable
from virt_ova.units import format_bytes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See the module."""
    add_source(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """List the disks."""
    with open_package(args.source) as opened:
        package = opened.whole()
        heading = ("ID", "FILE", "SIZE", "OFFSET", "CAPACITY", "FORMAT")
        rows = [heading, *map(_row, package.disks)]
        console.document(disks_document(package), table(rows, indent=""))
    return 0


def _row(disk: PackageDisk) -> tuple[str, ...]:
    return (
        printable(disk.id),
        printable(disk.file_name) or "-",
        _number(disk.file_size),
        _number(disk.file_offset),
        "-" if disk.capacity_bytes is None else format_bytes(disk.capacity_bytes),
        disk.format or "-",
    )


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)

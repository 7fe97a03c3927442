"""``virt-ova export``: a machine of a hypervisor to an OVA."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from virt_ova.cli.console import Console, finding_lines, table, told
from virt_ova.cli.monitors import monitor
from virt_ova.cli.options import default_uri
from virt_ova.cli.questions import ask_login, can_ask
from virt_ova.package.verify import Trust
from virt_ova.stories.export import ALGORITHMS, ExportOptions, ExportResult, export
from virt_ova.text import printable
from virt_ova.units import format_bytes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See the module."""
    parser.add_argument("domain", metavar="DOMAIN", help="name of the machine, which must be powered off")
    parser.add_argument("output", metavar="OUTPUT.ova", help="the new package; it must not exist")
    parser.add_argument("-c", "--connect", metavar="URI", help="where the machine is: esx://... or vpx://...")
    parser.add_argument(
        "--algorithm", choices=[each.lower() for each in ALGORITHMS], help="digests of the manifest (default: sha256)"
    )
    parser.add_argument("--no-images", action="store_true", help="leave images in CD and floppy drives out")


def run(args: argparse.Namespace, console: Console) -> int:
    """Export it."""
    with monitor(quiet=console.is_json) as listener:
        result = export(
            args.connect or default_uri(),
            args.domain,
            args.output,
            options=ExportOptions(algorithm=(args.algorithm or ALGORITHMS[0]).upper(), images=not args.no_images),
            monitor=listener,
            ask=ask_login if can_ask(is_json=console.is_json) else None,
        )
    console.document(_document(result), _lines(result))
    return 0


def _document(result: ExportResult) -> dict[str, Any]:
    return {
        "machine": result.machine,
        "path": str(result.path),
        "size_bytes": result.size_bytes,
        "trust": Trust.DIGESTS,
        "manifest": {"algorithm": result.algorithm, "entries": len(result.files)},
        "files": [
            {"name": each.name, "size": each.size, "digest": each.digests[result.algorithm]} for each in result.files
        ],
        "disks": [asdict(disk) for disk in result.disks],
        "findings": [asdict(finding) for finding in result.findings],
        "elapsed_seconds": result.elapsed_seconds,
    }


def _lines(result: ExportResult) -> Iterator[str]:
    yield (
        f"Wrote {printable(str(result.path))}: machine {printable(result.machine)}, "
        f"{format_bytes(result.size_bytes)}, in {result.elapsed_seconds:.1f} s"
    )
    guests = {disk.file_name: f"disk of {format_bytes(disk.capacity_bytes)}" for disk in result.disks}
    yield from table([(each.name, format_bytes(each.size), guests.get(each.name, "")) for each in result.files])
    yield f"manifest: {result.algorithm}, {len(result.files)} files"
    yield from finding_lines(told(result.findings))

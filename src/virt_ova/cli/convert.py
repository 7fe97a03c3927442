"""``virt-ova convert``: one disk to a local file."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from virt_ova.cli.console import Console, finding_lines, trust_line
from virt_ova.cli.monitors import monitor
from virt_ova.cli.options import add_image_options, add_no_verify
from virt_ova.cli.parser import add_source
from virt_ova.cli.policy import add_trust_options, trust_policy
from virt_ova.plan.plan import DiskMode, ImageFormat
from virt_ova.stories.convert import convert
from virt_ova.text import printable
from virt_ova.units import format_bytes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See the module."""
    add_source(parser)
    parser.add_argument("output", metavar="OUTPUT", help="the new file; it must not exist")
    parser.add_argument("--disk", metavar="ID", help="which disk, when the package has several")
    add_image_options(parser, has_host=False)
    add_no_verify(parser)
    add_trust_options(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Convert it."""
    policy = trust_policy(args)
    with monitor(quiet=console.is_json) as listener:
        result = convert(
            args.source,
            args.output,
            disk=args.disk,
            image_format=args.image_format or ImageFormat.QCOW2,
            mode=args.disk_mode or DiskMode.EXPAND,
            verify=not args.no_verify,
            trust_policy=policy,
            monitor=listener,
        )
    document = {
        "disk": result.disk,
        "path": str(result.path),
        "format": result.image_format,
        "mode": result.mode,
        "capacity_bytes": result.capacity_bytes,
        "trust": result.trust,
        "signer": asdict(result.signer) if result.signer else None,
        "findings": [asdict(finding) for finding in result.findings],
        "elapsed_seconds": result.elapsed_seconds,
    }
    line = (
        f"Wrote {printable(str(result.path))}: disk {printable(result.disk)} as {result.image_format}, "
        f"{format_bytes(result.capacity_bytes)}, {result.mode}, in {result.elapsed_seconds:.1f} s"
    )
    console.document(document, [line, trust_line(result.trust), *finding_lines(result.findings)])
    return 0

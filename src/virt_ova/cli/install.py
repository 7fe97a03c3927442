"""``virt-ova install``: the main thing."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TextIO

from virt_ova.cli.console import Console, finding_lines, table
from virt_ova.cli.monitors import monitor
from virt_ova.cli.options import add_install_options, add_no_verify, default_uri, install_options
from virt_ova.cli.parser import UsageError, add_source
from virt_ova.errors import VirtOvaError
from virt_ova.findings import Severity
from virt_ova.plan.codec import from_json, to_json
from virt_ova.plan.plan import InstallPlan, Outcome
from virt_ova.stories.install import InstallResult, install, preflight
from virt_ova.text import printable, quoted
from virt_ova.units import format_bytes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See the module."""
    add_source(parser)
    add_install_options(parser)
    add_no_verify(parser)
    parser.add_argument("--plan", metavar="FILE", help="a plan that 'virt-ova plan' printed, perhaps edited")
    parser.add_argument("--start", action="store_true", help="start the machine")
    parser.add_argument(
        "--wait-boot", metavar="SECONDS", type=float, help="start the machine and say how far it came in this time"
    )
    parser.add_argument("--dry-run", action="store_true", help="check everything, write nothing, print the plan")
    parser.add_argument("--report", metavar="FILE", help="write the JSON result to FILE as well")


def run(args: argparse.Namespace, console: Console) -> int:
    """Install, and tell what came of it."""
    if args.wait_boot is not None and not args.wait_boot > 0:
        raise UsageError("--wait-boot expects a number of seconds above 0")
    with _report_file(args.report) as report:
        try:
            document, lines = _carry_out(args, console)
        except VirtOvaError as exc:
            report.write(json.dumps(exc.document(), indent=2) + "\n")
            raise
        report.write(json.dumps(document, indent=2) + "\n")
    console.document(document, lines)
    return 0


def _carry_out(args: argparse.Namespace, console: Console) -> tuple[dict[str, Any], list[str]]:
    options = replace(
        install_options(args),
        start=args.start or args.wait_boot is not None,
        wait_boot_seconds=args.wait_boot,
        verify=not args.no_verify,
    )
    uri = args.connect or default_uri()
    plan = _read_plan(args.plan) if args.plan else None
    if args.dry_run:
        agreed = preflight(args.source, uri, options=options, plan=plan)
        return json.loads(to_json(agreed)), ["Nothing was written. This is what would be done:", *_plan_lines(agreed)]
    with monitor(quiet=console.is_json) as listener:
        result = install(args.source, uri, options=options, plan=plan, monitor=listener)
    return _document(result), list(_lines(result, uri))


def _report_file(path: str | None) -> TextIO:
    """Opened before anything is done, so that a place that cannot be written is told first."""
    try:
        return Path(path or os.devnull).open("w", encoding="utf-8")
    except OSError as exc:
        raise UsageError(f"--report {quoted(str(path))}: {exc.strerror}") from exc


def _read_plan(path: str) -> InstallPlan:
    try:
        return from_json(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(f"--plan {quoted(path)}: {exc}") from exc


def _document(result: InstallResult) -> dict[str, Any]:
    """The JSON of an install: the values' own names, which are fixed."""
    return asdict(result)


def _plan_lines(plan: InstallPlan) -> Iterator[str]:
    """The plan for people: machines, images, and what became of the hardware."""
    for machine in plan.machines:
        yield f"machine {machine.name}: {machine.cpus.count} CPUs, {format_bytes(machine.memory_bytes)}"
    yield from table([
        (transfer.image_name, format_bytes(transfer.capacity_bytes), transfer.image_format, transfer.mode)
        for transfer in plan.transfers
    ])  # fmt: skip
    for decision in plan.decisions:
        result = f" -> {decision.result}" if decision.result and decision.outcome is not Outcome.KEPT else ""
        yield f"  {decision.outcome:8}{decision.item}{result}: {decision.reason}"
    yield from finding_lines(plan.findings, least=Severity.WARNING)


def _lines(result: InstallResult, uri: str) -> Iterator[str]:
    """The result for people."""
    names = ", ".join(domain.name for domain in result.domains)
    yield f"Installed {names} on {printable(uri)} in {result.elapsed_seconds:.1f} s, trust: {result.trust}"
    yield from table([
        (volume.name, format_bytes(volume.capacity_bytes), volume.mode, volume.path) for volume in result.volumes
    ])  # fmt: skip
    yield from finding_lines(result.findings, least=Severity.WARNING)
    if booted := result.booted:
        yield f"Booted: {booted.state} after {booted.seconds:.1f} s"
        yield f"  {booted.evidence}"

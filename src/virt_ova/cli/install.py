"""``virt-ova install``: the main thing."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from virt_ova.cli.answers import answered, with_licences
from virt_ova.cli.boots import Screenshots, boot_lines, install_document, reach_lines
from virt_ova.cli.console import Console, finding_lines, shown, table, told, trust_line
from virt_ova.cli.failure import failure_of
from virt_ova.cli.given import read_given
from virt_ova.cli.monitors import monitor
from virt_ova.cli.options import add_install_options, add_no_verify, default_uri, install_options
from virt_ova.cli.parser import UsageError, add_source
from virt_ova.cli.policy import add_trust_options, trust_policy
from virt_ova.cli.questions import ask_login, can_ask
from virt_ova.cli.report import Report
from virt_ova.interrupt import Interrupted
from virt_ova.package.package import open_package
from virt_ova.plan.plan import InstallPlan
from virt_ova.stories.install import install, preflight
from virt_ova.stories.result import InstallResult
from virt_ova.text import printable, without_secrets
from virt_ova.units import format_bytes

_IN_THE_PLAN: Final = (
    *("name", "networks", "disk_mode", "image_format", "deployment_option", "virt_type"),
    *("properties", "machine", "disk_bus", "nic_model", "keep_mac"),
)
"""Options that decide what a plan says."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See the module."""
    add_source(parser)
    add_install_options(parser)
    add_no_verify(parser)
    add_trust_options(parser)
    parser.add_argument("--plan", metavar="FILE", help="a plan that 'virt-ova plan' printed, perhaps edited")
    parser.add_argument("--start", action="store_true", help="start the machine")
    parser.add_argument(
        "--wait-boot", metavar="SECONDS", type=float, help="start the machine and say how far it came in this time"
    )
    parser.add_argument(
        "--boot-fallback", action="store_true", help="when the guest does not find its disk, try other controllers"
    )
    parser.add_argument(
        "--inspect-guest",
        action="store_true",
        help="look inside the disks, and choose hardware the guest has drivers for",
    )
    parser.add_argument(
        "--convert", action="store_true", help="let virt-v2v-in-place make the guest ready for virtio, then inspect it"
    )
    parser.add_argument("--screenshots", metavar="FOLDER", help="keep a picture of each machine's screen in FOLDER")
    parser.add_argument(
        "--resume", action="store_true", help="take up an install of the same that was killed: use what is whole of it"
    )
    parser.add_argument("--dry-run", action="store_true", help="check everything, write nothing, print the plan")
    parser.add_argument("--report", metavar="FILE", help="write the JSON result to FILE as well")


def run(args: argparse.Namespace, console: Console) -> int:
    """Install, and tell what came of it."""
    _check_usage(args)
    if args.report is None:
        document, lines, is_complete = _carry_out(args, console)
    else:
        with Report(args.report, apart_from=filter(None, (args.source, args.plan, args.property_file))) as report:
            document, lines, has_pictures = _reported(args, console, report)
            is_complete = report.write(document) and has_pictures
    console.document(document, lines)
    return 0 if is_complete else 1


def _reported(args: argparse.Namespace, console: Console, report: Report) -> tuple[dict[str, Any], list[str], bool]:
    """As `_carry_out`; a failure is written to the report as well."""
    try:
        return _carry_out(args, console)
    except (Exception, Interrupted) as exc:
        report.write(failure_of(exc).document())
        raise


def _check_usage(args: argparse.Namespace) -> None:
    if args.wait_boot is not None and not args.wait_boot > 0:
        raise UsageError("--wait-boot expects a number of seconds above 0")
    for option, is_given in (("--boot-fallback", args.boot_fallback), ("--screenshots", args.screenshots)):
        if is_given and args.wait_boot is None:
            raise UsageError(f"{option} needs --wait-boot SECONDS, which says how long a machine is watched")
    if args.resume and args.dry_run:
        raise UsageError("--resume cannot be combined with --dry-run, which writes nothing")
    if args.plan and any(getattr(args, name) for name in _IN_THE_PLAN):
        raise UsageError(
            "--plan cannot be combined with options that decide what the plan says "
            "(--name, --network, --disk-mode, --format, --deployment-option, --virt-type, --property, --machine, "
            "--disk-bus, --nic-model, --keep-mac)",
            hint="Give them to 'virt-ova plan', or edit the plan.",
        )


def _carry_out(args: argparse.Namespace, console: Console) -> tuple[dict[str, Any], list[str], bool]:
    """Document and lines of the result, and whether all that belongs to it could be written."""
    options = replace(
        install_options(args),
        start=args.start or args.wait_boot is not None,
        wait_boot_seconds=args.wait_boot,
        boot_fallback=args.boot_fallback,
        inspect_guest=args.inspect_guest,
        convert=args.convert,
        screenshots=args.screenshots is not None,
        verify=not args.no_verify,
        trust_policy=trust_policy(args),
        resume=args.resume,
    )
    uri = args.connect or default_uri()
    ask = ask_login if can_ask(is_json=console.is_json) else None
    plan = _given_plan(args.plan) if args.plan else None
    screenshots = Screenshots(None if args.dry_run else args.screenshots)
    with open_package(args.source, locale=args.locale) as package:
        options = answered(options, args, package.envelope, is_json=console.is_json, plan=plan)
        options = with_licences(options, package.envelope, is_json=console.is_json, plan=plan)
        if args.dry_run:
            agreed = preflight(package, uri, options=options, plan=plan, ask=ask)
            lines = ["Nothing was written. This is what would be done:", *_plan_lines(agreed)]
            lines += finding_lines(told(package.signature_findings))
            return _plan_document(agreed), lines, True
        with monitor(quiet=console.is_json) as listener:
            result = install(package, uri, options=options, plan=plan, monitor=listener, ask=ask)
    screenshots.save(result.boots)
    lines = list(_lines(result, uri, screenshots, is_started=options.start))
    return install_document(result, screenshots.files), lines, screenshots.is_complete


def _given_plan(path: str) -> InstallPlan:
    from virt_ova.plan.codec import MAX_PLAN_BYTES, from_json  # noqa: PLC0415 - most installs need none

    return from_json(read_given(path, "--plan", most_bytes=MAX_PLAN_BYTES).data)


def _plan_document(plan: InstallPlan) -> dict[str, Any]:
    from virt_ova.plan.codec import to_json  # noqa: PLC0415 - as above

    document: dict[str, Any] = json.loads(to_json(plan))
    return document


def _plan_lines(plan: InstallPlan) -> Iterator[str]:
    """The plan for people: machines, images, and what became of the hardware."""
    for machine in plan.machines:
        yield f"machine {machine.name}: {_cpus(machine.cpus.count)}, {format_bytes(machine.memory_bytes)}"
    yield from table([
        (transfer.image_name, format_bytes(transfer.capacity_bytes), transfer.image_format, transfer.mode)
        for transfer in plan.transfers
    ])  # fmt: skip
    yield "hardware"
    for decision in plan.decisions:
        result = f" -> {shown(decision.result)}" if decision.result else ""
        yield f"  {decision.outcome:8}{shown(decision.item)}{result}: {shown(decision.reason)}"
    yield from finding_lines(told(plan.findings))


def _cpus(count: int) -> str:
    return "1 CPU" if count == 1 else f"{count} CPUs"


def _lines(result: InstallResult, uri: str, screenshots: Screenshots, *, is_started: bool) -> Iterator[str]:
    """The result for people."""
    names = ", ".join(domain.name for domain in result.domains)
    yield f"Installed {names} on {printable(without_secrets(uri))} in {result.elapsed_seconds:.1f} s"
    yield from table([
        (volume.name, format_bytes(volume.capacity_bytes), volume.mode, volume.path) for volume in result.volumes
    ])  # fmt: skip
    yield from table([(f"network {network.name}", "made") for network in result.networks])
    yield trust_line(result.trust)
    yield from finding_lines(told(result.findings))
    yield from boot_lines(result, screenshots.files)
    for domain in result.domains:
        if is_started:
            yield from reach_lines(domain)
        elif domain.start_command:
            yield f"Start it: {domain.start_command}"

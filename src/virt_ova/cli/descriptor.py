"""``virt-ova descriptor``: the descriptor byte for byte, or a machine of the package as a VMX."""

from __future__ import annotations

import argparse

from virt_ova.cli.console import Console, finding_lines, say
from virt_ova.cli.parser import UsageError, add_source
from virt_ova.errors import PackageError
from virt_ova.package.as_vmx import describe_as_vmx
from virt_ova.package.descriptor import is_vmx
from virt_ova.package.package import Package, open_package


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See the module."""
    add_source(parser)
    parser.add_argument(
        "--format", choices=["ovf", "vmx"], help="what to print (default: the package's own descriptor)"
    )
    parser.add_argument("--system", metavar="ID", help="machine to print, where the package has several (vmx)")
    parser.add_argument("--deployment-option", metavar="ID", help="print the hardware of this configuration (vmx)")


def run(args: argparse.Namespace, console: Console) -> int:
    """Print it."""
    with open_package(args.source) as package:
        if args.format == "vmx" and not is_vmx(package.descriptor_member):
            _print_vmx(package, args, console)
            return 0
        _check(package, args)
        if console.is_json:
            text = package.descriptor.decode("utf-8", "replace")
            console.document({"name": package.descriptor_member.name, "descriptor": text}, ())
        else:
            console.write_bytes(package.descriptor)
    return 0


def _check(package: Package, args: argparse.Namespace) -> None:
    """Refuse what cannot be had of a descriptor that is printed as it is. Raises `UsageError`, `PackageError`."""
    if args.system is not None or args.deployment_option is not None:
        raise UsageError("--system and --deployment-option are for an OVF that is printed with --format vmx")
    if args.format == "ovf" and is_vmx(package.descriptor_member):
        raise PackageError(
            "the package's descriptor is a VMX, which is not translated to OVF",
            code="E_NOT_SUPPORTED",
            where=package.name,
            hint="Leave --format out to print it as it is.",
        )


def _print_vmx(package: Package, args: argparse.Namespace, console: Console) -> None:
    """The VMX on stdout; what in it is not as the package has it on stderr."""
    written = describe_as_vmx(package, system=args.system, deployment_option=args.deployment_option)
    if console.is_json:
        name = package.descriptor_member.name.rpartition(".")[0] + ".vmx"
        findings = [
            {"code": each.code, "severity": each.severity, "message": each.message, "where": each.where}
            for each in written.findings
        ]
        console.document({"name": name, "descriptor": written.text, "findings": findings}, ())
        return
    console.write_bytes(written.text.encode())
    for line in finding_lines(written.findings):
        say(line)

"""``virt-ova inspect``: what a package holds."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from virt_ova.cli.console import Console, finding_lines, licence, table
from virt_ova.cli.parser import add_locale, add_source, add_strict
from virt_ova.package.document import inspect_document
from virt_ova.package.package import open_package
from virt_ova.plan.eulas import eula_texts
from virt_ova.plan.strict import check_strict
from virt_ova.text import printable
from virt_ova.units import format_bytes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See the module."""
    add_source(parser)
    parser.add_argument("--deployment-option", metavar="ID", help="show the hardware and values of this configuration")
    add_locale(parser)
    add_strict(parser)
    parser.add_argument("--eulas", action="store_true", help="show the licences that an install must accept")


def run(args: argparse.Namespace, console: Console) -> int:
    """Show it."""
    with open_package(args.source, locale=args.locale) as package:
        check_strict((*package.findings, *package.envelope.findings), is_strict=args.strict)
        document = inspect_document(package, deployment_option=args.deployment_option)
        if args.eulas:
            texts = eula_texts(package.envelope)
            console.document({**document, "eula_texts": texts}, [line for text in texts for line in licence(text)])
            return 0
        findings = finding_lines((*package.findings, *package.envelope.findings))
        console.document(document, [*_lines(document), *(["findings"] if findings else []), *findings])
    return 0


def _lines(document: dict[str, Any]) -> Iterator[str]:
    """The document for people. Every text in it comes from the package."""
    manifest = document["manifest"]
    verified = f"{manifest['algorithm']}, {manifest['entries']} entries" if manifest else "none"
    version = f"OVF {document['ovf_version']}" if document["ovf_version"] else "VMX"
    yield f"{document['kind']}, {version}, by {document['producer']}, manifest: {verified}"
    for system in document["virtual_systems"]:
        yield from _system_lines(system)
    yield from _section("disks", [
        (
            printable(disk["id"]),
            printable(disk["file_name"]) or "(blank)",
            "-" if disk["capacity_bytes"] is None else format_bytes(disk["capacity_bytes"]),
            disk["format"],
        )
        for disk in document["disks"]
    ])  # fmt: skip
    yield from _section("networks", [
        (printable(network["name"]), printable(network["description"])) for network in document["networks"]
    ])  # fmt: skip
    yield from _section("deployment options", [
        (printable(option["id"]), printable(option["label"]), "default" if option["default"] else "")
        for option in document["deployment_options"]
    ])  # fmt: skip
    keys = [each["key"] for each in document["properties"]]
    yield from _section("properties", [
        (
            printable(each["key"] if keys.count(each["key"]) == 1 else f"{each['entity']}:{each['key']}"),
            printable(each["type"]),
            "(hidden)" if each["password"] else printable(each["value"] or ""),
        )
        for each in document["properties"]
    ])  # fmt: skip
    if document["eulas"]:
        yield f"licences to accept: {document['eulas']}; --eulas shows them"


def _system_lines(system: dict[str, Any]) -> Iterator[str]:
    guest = system["os"]
    yield f"machine {printable(system['name'] or system['id'])}"
    yield from table([
        ("guest", printable(guest["type"] or ("-" if guest["id"] is None else str(guest["id"])))),
        ("cpus", "-" if system["cpus"] is None else str(system["cpus"])),
        ("memory", "-" if system["memory_bytes"] is None else format_bytes(system["memory_bytes"])),
        ("firmware", system["firmware"] + (" with secure boot" if system["secure_boot"] else "")),
        ("hardware", printable(" ".join(system["hardware_types"])) or "-"),
        *(("nic", f"{printable(nic['model'])} on {printable(nic['network'])}") for nic in system["nics"]),
    ])  # fmt: skip


def _section(title: str, rows: list[tuple[str, ...]]) -> Iterator[str]:
    if rows:
        yield title
        yield from table(rows)

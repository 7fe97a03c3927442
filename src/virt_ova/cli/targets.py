"""``virt-ova targets``: the drivers, and what each can do here."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from virt_ova.cli.console import Console, table
from virt_ova.cli.options import default_uri
from virt_ova.errors import VirtOvaError
from virt_ova.plan.host import HostCapabilities
from virt_ova.target.base import Driver
from virt_ova.target.importing import AskingDriver
from virt_ova.target.registry import DriverEntry, drivers, open_target, scheme_of
from virt_ova.text import without_secrets


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See the module."""


def run(args: argparse.Namespace, console: Console) -> int:  # noqa: ARG001 - this verb takes none
    """List them."""
    documents = [_document(entry) for entry in drivers()]
    lines = [line for document in documents for line in _lines(document)]
    console.document({"targets": documents}, lines)
    return 0


def _lines(document: dict[str, Any]) -> Iterator[str]:
    """One driver for people."""
    yield f"{document['name']}: {document['summary']}" if document["summary"] else document["name"]
    yield from table([("URI", document["uri"] or ", ".join(document["schemes"])), ("here", _here(document))])


def _here(document: dict[str, Any]) -> str:
    """What one driver can do here."""
    if document["problem"]:
        return f"cannot be used: {document['problem']}"
    if document["unreachable"]:
        return f"installed, but {document['uri']} cannot be opened: {document['unreachable']}"
    export = "can export" if document["exports"] else "cannot export"
    if not document["uri"]:
        return f"ready for a host that --connect names, as {document['example']}; {export}"
    machines = f", runs {' or '.join(document['virt_types'])}" if document["virt_types"] else ""
    secure = " (secure boot)" if document["secure_boot"] else ""
    return f"ready{machines}, boots {' or '.join(document['firmware'])}{secure}; {export}"


def _document(entry: DriverEntry) -> dict[str, Any]:
    """A driver, and what the target can do that it opens by default."""
    driver, host, uri, unreachable = entry.driver, HostCapabilities(firmware=frozenset()), "", ""
    problem = driver.missing() if driver else entry.problem
    if driver and not problem:
        uri = _uri_of(entry, driver)
    if uri:
        try:
            with closing(open_target(uri)) as target:
                host = target.capabilities
        except VirtOvaError as exc:
            unreachable = f"{exc}. {exc.hint}".strip()
    return {
        "name": driver.name if driver else ", ".join(entry.schemes),
        "schemes": list(entry.schemes),
        "example": driver.example if driver else "",
        "summary": driver.summary if driver else "",
        "problem": problem,
        "uri": without_secrets(uri),
        "unreachable": unreachable,
        "virt_types": list(host.virt_types),
        "firmware": sorted(host.firmware),
        "secure_boot": host.secure_boot,
        "exports": entry.exports,
    }


def _uri_of(entry: DriverEntry, driver: Driver) -> str:
    """What the driver opens by default: nothing, when somebody has to log in, and no host was named."""
    if scheme_of(default_uri()) in entry.schemes:
        return default_uri()
    return "" if isinstance(driver, AskingDriver) else driver.example

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
from virt_ova.target.registry import DriverEntry, drivers, open_target, scheme_of


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
    if document["problem"]:
        here = f"cannot be used: {document['problem']}"
    else:
        secure = " (secure boot)" if document["secure_boot"] else ""
        here = f"ready, runs {' or '.join(document['virt_types'])}, boots {' or '.join(document['firmware'])}{secure}"
    yield from table([("URI", document["uri"] or ", ".join(document["schemes"])), ("here", here)])


def _document(entry: DriverEntry) -> dict[str, Any]:
    """A driver, and what the target can do that it opens by default."""
    driver, uri, problem, host = entry.driver, "", entry.problem, None
    if driver:
        uri = default_uri() if scheme_of(default_uri()) in entry.schemes else driver.example
        problem, host = _asked(uri)
    return {
        "name": driver.name if driver else ", ".join(entry.schemes),
        "schemes": list(entry.schemes),
        "example": driver.example if driver else "",
        "summary": driver.summary if driver else "",
        "uri": uri,
        "problem": problem,
        "virt_types": list(host.virt_types) if host else [],
        "firmware": sorted(host.firmware) if host else [],
        "secure_boot": bool(host and host.secure_boot),
    }


def _asked(uri: str) -> tuple[str, HostCapabilities | None]:
    """Why nothing can be installed at `uri`, or what it offers."""
    try:
        with closing(open_target(uri)) as target:
            return "", target.capabilities
    except VirtOvaError as exc:
        return f"{exc}. {exc.hint}".strip(), None

"""``virt-ova targets``: the drivers, and what each can do here."""

from __future__ import annotations

import argparse

from virt_ova.cli.console import Console, table
from virt_ova.target.registry import DriverEntry, drivers


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See the module."""


def run(args: argparse.Namespace, console: Console) -> int:  # noqa: ARG001 - this verb takes none
    """List them."""
    documents = list(map(_document, drivers()))
    rows = [
        (document["name"], document["example"], document["summary"], f"unusable: {document['problem']}")
        if document["problem"]
        else (document["name"], document["example"], document["summary"], "ready")
        for document in documents
    ]
    console.document({"targets": documents}, table([("DRIVER", "URI", "INSTALLS ON", "HERE"), *rows], indent=""))
    return 0


def _document(entry: DriverEntry) -> dict[str, str]:
    schemes = ", ".join(entry.schemes)
    if entry.driver is None:
        return {"name": schemes, "schemes": schemes, "example": "", "summary": "", "problem": entry.problem}
    return {
        "name": entry.driver.name,
        "schemes": schemes,
        "example": entry.driver.example,
        "summary": entry.driver.summary,
        "problem": entry.driver.missing(),
    }

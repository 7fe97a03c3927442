"""``virt-ova verify``: every file against the manifest, and the manifest against who signed it."""

from __future__ import annotations

import argparse

from virt_ova.cli.console import Console, finding_lines, table, trust_line
from virt_ova.cli.monitors import monitor
from virt_ova.cli.parser import add_source
from virt_ova.cli.policy import add_trust_options, trust_policy
from virt_ova.findings import Severity
from virt_ova.package.document import verify_document
from virt_ova.package.package import open_package
from virt_ova.text import printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See the module."""
    add_source(parser)
    add_trust_options(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Check every file; fails when one differs, and says which."""
    policy = trust_policy(args)
    with open_package(args.source) as package, monitor(quiet=console.is_json) as listener:
        report = package.verify(monitor=listener, policy=policy)
    rows = [("ok" if file.ok else "DIFFERS", file.algorithm, printable(file.name)) for file in report.files]
    is_broken = any(each.severity is Severity.ERROR and each.code != "CERT_REQUIRED" for each in report.findings)
    trust = f"trust: {report.trust} (the package is not in order)" if is_broken else trust_line(report.trust)
    lines = [*table(rows), trust, *finding_lines(report.findings)]
    console.document(verify_document(report), lines)
    return 0 if report.is_sound else 1

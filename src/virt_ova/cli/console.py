"""What a person or a program reads.

Results go to stdout, everything else to stderr. With ``--json`` stdout holds exactly one document, also when the verb
failed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from virt_ova.errors import VirtOvaError
from virt_ova.findings import Finding, Severity
from virt_ova.text import printable

MAX_ERROR_CHARACTERS: Final = 4000
"""Of one message on stderr, whatever a package put into it."""


class Console:
    """Prints results and errors, as text or as JSON."""

    def __init__(self, *, is_json: bool) -> None:
        self.is_json = is_json

    def document(self, document: Mapping[str, object], lines: Iterable[str]) -> None:
        """The verb's result: `document` with ``--json``, else `lines`."""
        if self.is_json:
            self.write(json.dumps(document, indent=2, ensure_ascii=False))
        else:
            for line in lines:
                self.write(line)

    def write(self, text: str) -> None:
        """One line, or one document, on stdout."""
        sys.stdout.write(text + "\n")

    def say(self, text: str) -> None:
        """One line on stderr."""
        sys.stderr.write(text[:MAX_ERROR_CHARACTERS] + "\n")

    def error(self, error: VirtOvaError) -> None:
        """The failure of the verb."""
        if self.is_json:
            self.write(json.dumps(error.document(), indent=2, ensure_ascii=False))
        self.say(f"virt-ova: error: {error} [{error.code}]")
        if error.hint:
            self.say(f"  hint: {error.hint}")


def table(rows: Sequence[Sequence[str]], *, indent: str = "  ") -> list[str]:
    """`rows` as lines of aligned columns; package text in them must be escaped already."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)] if rows else []
    return [
        (indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip()
        for row in rows
    ]


def finding_lines(findings: Iterable[Finding], *, least: Severity = Severity.INFO) -> list[str]:
    """Findings as lines, the most severe first; those below `least` are left out."""
    order = [Severity.ERROR, Severity.WARNING, Severity.INFO]
    chosen = [finding for finding in findings if order.index(finding.severity) <= order.index(least)]
    return [
        f"  {finding.severity}: {f'{printable(finding.where)}: ' if finding.where else ''}{finding.message}"
        f" [{finding.code}]"
        for finding in sorted(chosen, key=lambda finding: order.index(finding.severity))
    ]

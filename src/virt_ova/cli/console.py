"""What a person or a program reads.

Results go to stdout, everything else to stderr. With ``--json`` stdout holds exactly one document, also when the verb
failed; it is ASCII, so that neither the locale nor control characters from a package can spoil it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

from virt_ova.errors import VirtOvaError
from virt_ova.findings import Finding, Severity
from virt_ova.package.verify import Trust
from virt_ova.text import printable

MAX_ERROR_CHARACTERS: Final = 4000
"""Of one message on stderr, whatever a package put into it."""

_TOLD_UNASKED: Final = frozenset(
    {
        *("NETWORK_DEFAULT", "OPTION_DEFAULT", "CERT_SIGNER", "CERT_ANCHOR"),
        *("GUEST_SEEN", "GUEST_FITTED", "CONVERTED", "CONVERT_COPY", "RESUMED"),
    }
)

_TRUST: Final = {
    Trust.SIGNED_TRUSTED: "signed by someone who is trusted here",
    Trust.SIGNED_UNTRUSTED: "signed, but the signature is not trusted here",
    Trust.DIGESTS: "the bytes are those of the manifest; who made it was not checked",
    Trust.UNVERIFIED: "there is no manifest, or it was not checked",
}


class OutputError(VirtOvaError):
    """The result cannot be told."""


class Console:
    """Prints results and errors, as text or as JSON."""

    def __init__(self, *, is_json: bool) -> None:
        self.is_json = is_json

    def document(self, document: Mapping[str, object], lines: Iterable[str]) -> None:
        """The verb's result: `document` with ``--json``, else `lines`."""
        if self.is_json:
            self.json(document)
        else:
            for line in lines:
                self.write(line)

    def json(self, document: object) -> None:
        """One document on stdout."""
        self.write(json.dumps(document, indent=2))

    def write(self, text: str) -> None:
        """One line on stdout."""
        self.write_bytes(f"{text}\n".encode(sys.stdout.encoding, "backslashreplace"))

    def write_bytes(self, data: bytes) -> None:
        """Bytes on stdout.

        Raises:
            OutputError: they cannot be written (``E_OUTPUT``).
            BrokenPipeError: nobody reads them.
        """
        try:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            forsake("stdout")
            raise
        except OSError as exc:
            forsake("stdout")
            raise OutputError(f"the result cannot be written: {exc.strerror}", code="E_OUTPUT") from exc

    def error(self, error: VirtOvaError) -> None:
        """The failure of the verb."""
        say(f"virt-ova: error: {error} [{error.code}]")
        if error.hint:
            say(f"  hint: {error.hint}")
        if self.is_json and not isinstance(error, OutputError):
            self.json(error.document())


def say(text: str) -> None:
    """One line on stderr. When it cannot be written it is lost, for that is no reason to stop the work."""
    try:
        sys.stderr.write(text[:MAX_ERROR_CHARACTERS] + "\n")
        sys.stderr.flush()
    except OSError:
        forsake("stderr")


def forsake(name: Literal["stdout", "stderr"]) -> None:
    """What is written to that stream from now on is lost, and so is what waits in it for the interpreter's end."""
    null = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - open as long as we run
    os.dup2(null.fileno(), getattr(sys, name).fileno())
    setattr(sys, name, null)


def trust_line(trust: Trust) -> str:
    """How far a package was verified, in its word and in a sentence."""
    return f"trust: {trust} ({_TRUST[trust]})"


def shown(sentence: str) -> str:
    """A sentence of ours that may come from an edited plan, and may hold anything then."""
    return printable(sentence, limit=MAX_ERROR_CHARACTERS)


def table(rows: Sequence[Sequence[str]], *, indent: str = "  ") -> list[str]:
    """`rows` as lines of aligned columns; package text in them must be escaped already."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)] if rows else []
    return [
        (indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip()
        for row in rows
    ]


def licence(text: str) -> list[str]:
    """A licence as lines: whole, and escaped."""
    lines = [line.expandtabs().rstrip() for line in text.splitlines()]
    return [printable(line, limit=max(len(line), 1)) for line in lines]


def told(findings: Iterable[Finding]) -> list[Finding]:
    """Those to be told unasked: warnings, errors, what was chosen because the user did not say, and who signed."""
    return [each for each in findings if each.severity is not Severity.INFO or each.code in _TOLD_UNASKED]


def finding_lines(findings: Iterable[Finding]) -> list[str]:
    """Findings as lines, the most severe first."""
    order = [Severity.ERROR, Severity.WARNING, Severity.INFO]
    return [
        f"  {finding.severity}: {f'{printable(finding.where)}: ' if finding.where else ''}{shown(finding.message)}"
        f" [{shown(finding.code)}]"
        for finding in sorted(findings, key=lambda finding: order.index(finding.severity))
    ]

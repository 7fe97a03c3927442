"""``--strict``: what may surprise is refused."""

from __future__ import annotations

from collections.abc import Iterable

from virt_ova.errors import PlanError
from virt_ova.findings import Finding, Severity


def check_strict(findings: Iterable[Finding], *, is_strict: bool) -> None:
    """Refuse findings that are warnings or errors, if that `is_strict`.

    Raises:
        PlanError: there is one (``E_STRICT``); the first is told whole.
    """
    found = [finding for finding in findings if finding.severity is not Severity.INFO]
    if not (is_strict and found):
        return
    first = f"{found[0].where}: {found[0].message}" if found[0].where else found[0].message
    more = f"; and {len(found) - 1} more" if len(found) > 1 else ""
    raise PlanError(
        f"nothing that may surprise is accepted, and found: {first} [{found[0].code}]{more}",
        code="E_STRICT",
        hint="'virt-ova plan' without --strict lists all findings; leave --strict out to accept them.",
    )

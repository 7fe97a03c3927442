"""With --strict, a warning is an error."""

from __future__ import annotations

import pytest

from virt_ova.errors import PlanError
from virt_ova.findings import Finding, Severity
from virt_ova.plan.strict import check_strict

INFO = Finding(code="NETWORK_DEFAULT", severity=Severity.INFO, message="a choice")
WARNING = Finding(code="DISK_UNUSED", severity=Severity.WARNING, message="a surprise", where="Disk 'a'")
ERROR = Finding(code="PKG_CHUNK", severity=Severity.ERROR, message="a fault")


def test_choices_are_accepted() -> None:
    check_strict([INFO, INFO], is_strict=True)
    check_strict([WARNING, ERROR], is_strict=False)


@pytest.mark.parametrize(
    ("findings", "told"),
    [
        ([INFO, WARNING], "Disk 'a': a surprise [DISK_UNUSED]"),
        ([ERROR, WARNING, INFO, WARNING], "a fault [PKG_CHUNK]; and 2 more"),
    ],
)
def test_the_first_is_told_and_how_many_there_are(findings: list[Finding], told: str) -> None:
    with pytest.raises(PlanError) as caught:
        check_strict(findings, is_strict=True)
    assert caught.value.code == "E_STRICT"
    assert caught.value.message == f"nothing that may surprise is accepted, and found: {told}"
    assert caught.value.hint == (
        "'virt-ova plan' without --strict lists all findings; leave --strict out to accept them."
    )

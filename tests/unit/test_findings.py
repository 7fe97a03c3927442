import dataclasses

import pytest

from virt_ova.findings import Finding, Severity


def test_a_finding_is_a_value() -> None:
    finding = Finding(code="HW_DROPPED", severity=Severity.WARNING, message="the floppy is dropped")
    assert finding == Finding(
        code="HW_DROPPED", severity=Severity("warning"), message="the floppy is dropped", where=""
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        finding.message = "kept"  # type: ignore[misc]

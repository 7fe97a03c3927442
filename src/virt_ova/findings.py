"""What was noticed but did not stop the work."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How much a finding matters: `INFO` is a choice made, `WARNING` may surprise, `ERROR` stops an install."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing worth telling.

    Attributes:
        code: stable identifier such as ``OVF_UNKNOWN_SECTION`` or ``HW_DROPPED``.
        severity: how much it matters.
        message: one sentence, package text already escaped.
        where: element path, member name or byte offset; may be empty.
    """

    code: str
    severity: Severity
    message: str
    where: str = ""

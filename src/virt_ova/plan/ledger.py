"""What becomes of each piece of a package, written down while a machine is planned.

Every choice is a `Decision`; every choice that is not "kept" is also a `Finding`, made here and nowhere else. Text from
the package is escaped on its way in.
"""

from __future__ import annotations

from virt_ova.findings import Finding, Severity
from virt_ova.ovf.envelope import Item, ResourceType
from virt_ova.plan.plan import Decision, Outcome
from virt_ova.text import printable

_KINDS = {
    ResourceType.PROCESSOR: "processors",
    ResourceType.MEMORY: "memory",
    ResourceType.IDE_CONTROLLER: "IDE controller",
    ResourceType.SCSI_CONTROLLER: "SCSI controller",
    ResourceType.FC_HBA: "Fibre Channel adapter",
    ResourceType.ISCSI_HBA: "iSCSI adapter",
    ResourceType.ETHERNET: "network interface",
    ResourceType.FLOPPY: "floppy drive",
    ResourceType.CD: "CD drive",
    ResourceType.DVD: "DVD drive",
    ResourceType.DISK: "disk",
    ResourceType.STORAGE_EXTENT: "disk",
    ResourceType.LOGICAL_DISK: "disk",
    ResourceType.OTHER_STORAGE: "storage controller",
    ResourceType.SERIAL_PORT: "serial port",
    ResourceType.PARALLEL_PORT: "parallel port",
    ResourceType.USB_CONTROLLER: "USB controller",
    ResourceType.GRAPHICS: "video",
    ResourceType.TPM: "TPM",
    ResourceType.SOUND: "sound card",
}
_LONGEST_NAME = 80


def label(item: Item) -> str:
    """What the package calls an item, escaped: ``SCSI controller 0: lsilogic``."""
    kinds: dict[int, str] = {int(number): name for number, name in _KINDS.items()}
    kind = kinds.get(item.resource_type, f"device of type {item.resource_type}")
    name = printable(item.element_name, limit=_LONGEST_NAME) or kind
    subtypes = printable(" ".join(item.subtypes), limit=_LONGEST_NAME)
    return f"{name}: {subtypes}" if subtypes else name


class Ledger:
    """Decisions and findings of one plan, in the order they were made.

    Attributes:
        decisions: what became of each piece.
        findings: what is worth telling.
        prefix: put before each piece's label; names the machine when there are several.
    """

    def __init__(self) -> None:
        self.decisions: list[Decision] = []
        self.findings: list[Finding] = []
        self.prefix = ""

    def kept(self, item: Item, result: str, reason: str = "the target has it") -> None:
        """The machine gets what the package asked for."""
        self._enter(Outcome.KEPT, label(item), result, reason, where=item.where)

    def mapped(self, item: Item, result: str, reason: str) -> None:
        """The machine gets something else instead."""
        self._enter(Outcome.MAPPED, label(item), result, reason, where=item.where)

    def dropped(self, item: Item, reason: str, *, matters: bool) -> None:
        """The machine does not get it; `matters` when the guest may miss it."""
        severity = Severity.WARNING if matters else Severity.INFO
        self._enter(Outcome.DROPPED, label(item), "", reason, where=item.where, severity=severity)

    def added(self, piece: str, result: str, reason: str) -> None:
        """The machine gets what the package did not ask for."""
        self._enter(Outcome.ADDED, piece, result, reason)

    def setting(self, outcome: Outcome, piece: str, result: str, reason: str, *, matters: bool = False) -> None:
        """A choice about the machine as a whole (firmware, chipset)."""
        severity = Severity.WARNING if matters else Severity.INFO
        self._enter(outcome, piece, result, reason, severity=severity)

    def note(self, code: str, severity: Severity, message: str, where: str = "") -> None:
        """Something else worth telling."""
        self.findings.append(Finding(code=code, severity=severity, message=self.prefix + message, where=where))

    def _enter(
        self,
        outcome: Outcome,
        piece: str,
        result: str,
        reason: str,
        *,
        where: str = "",
        severity: Severity = Severity.INFO,
    ) -> None:
        decision = Decision(item=self.prefix + piece, outcome=outcome, result=result, reason=reason, where=where)
        self.decisions.append(decision)
        if outcome is not Outcome.KEPT:
            became = f"{outcome} to {result}" if outcome is Outcome.MAPPED else outcome.value
            if outcome is Outcome.ADDED:
                became = f"added {result}"
            self.note(f"HW_{outcome.name}", severity, f"{piece}: {became}: {reason}", where)

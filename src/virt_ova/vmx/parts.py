"""What the machine of a VMX is made of, collected while its settings are read."""

from __future__ import annotations

from dataclasses import dataclass, field

from virt_ova.findings import Finding, Severity
from virt_ova.ovf.envelope import Disk, File, Item, Network
from virt_ova.vmx.settings import Settings


@dataclass(kw_only=True, slots=True)
class Parts:
    """The pieces so far; `file_ids` gives the id of each file by its name."""

    settings: Settings
    items: list[Item] = field(default_factory=list)
    disks: list[Disk] = field(default_factory=list)
    networks: dict[str, Network] = field(default_factory=dict)
    file_ids: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def files(self) -> tuple[File, ...]:
        """All files, in the order they were come across."""
        return tuple(File(id=file_id, href=name) for name, file_id in self.file_ids.items())

    @property
    def next_id(self) -> str:
        """InstanceID of the next item."""
        return str(len(self.items) + 1)

    def add_device(self, key: str, resource_type: int, *subtypes: str, address: str = "") -> str:
        """Add what stands on no controller; its InstanceID."""
        item = Item(
            instance_id=self.next_id,
            resource_type=resource_type,
            subtypes=tuple(filter(None, subtypes)),
            element_name=key,
            address=address,
            where=key,
        )
        self.items.append(item)
        return item.instance_id

    def add_file(self, name: str) -> str:
        """The id of the file of that name, which is listed once."""
        return self.file_ids.setdefault(name, f"file{len(self.file_ids) + 1}")

    def note(self, code: str, message: str, where: str = "", severity: Severity = Severity.WARNING) -> None:
        """Add a finding."""
        self.findings.append(Finding(code=code, severity=severity, message=message, where=where))

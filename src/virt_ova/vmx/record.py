"""A VMX while it is written: its settings in order, and what could not be written as it was asked for."""

from __future__ import annotations

from dataclasses import dataclass, field

from virt_ova.findings import Finding, Severity
from virt_ova.ovf.envelope import Item
from virt_ova.text import printable, quoted


@dataclass(kw_only=True, slots=True)
class Record:
    """The settings and findings so far; `keys` gives the device of an item, by its InstanceID."""

    settings: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)

    def put(self, key: str, value: str) -> None:
        """Add a setting."""
        self.settings[key] = value

    def device(self, key: str, *settings: tuple[str, str]) -> None:
        """Add a device that is there, and its `settings`."""
        self.put(f"{key}.present", "TRUE")
        for name, value in settings:
            self.put(f"{key}.{name}", value)

    def mapped(self, what: str, became: str, reason: str, where: str = "") -> None:
        """Note that something is written as something else."""
        self._note("VMX_MAPPED", f"{what}: written as {became}: {reason}", where)

    def dropped(self, item: Item, reason: str) -> None:
        """Note that a piece of hardware is left out."""
        self._note("VMX_DROPPED", f"{self.label(item)}: left out: {reason}", item.where)

    @staticmethod
    def label(item: Item) -> str:
        """What the package calls an item, escaped."""
        subtypes = printable(" ".join(item.subtypes))
        name = quoted(item.element_name or item.instance_id)
        return f"{name} ({subtypes})" if subtypes else name

    def _note(self, code: str, message: str, where: str) -> None:
        self.findings.append(Finding(code=code, severity=Severity.WARNING, message=message, where=where))

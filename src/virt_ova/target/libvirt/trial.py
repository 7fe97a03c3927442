"""A domain that is tried and thrown away, with a copy of its EFI variables: libvirt has no overlay for those."""

from __future__ import annotations

from dataclasses import dataclass

from virt_ova.target.base import BootReport
from virt_ova.target.libvirt.domain import LibvirtDomain
from virt_ova.target.libvirt.volume import LibvirtVolume


@dataclass(frozen=True, kw_only=True, slots=True)
class LibvirtTrial:
    """A `virt_ova.target.base.Trial`: the domain, and the copy that it writes its EFI variables to."""

    domain: LibvirtDomain
    variables: LibvirtVolume

    def watch_disk(self, seconds: float) -> BootReport:
        """See `virt_ova.target.base.Trial.watch_disk`."""
        return self.domain.watch_disk(seconds)

    def discard(self) -> None:
        """See `virt_ova.target.base.Trial.discard`."""
        self.domain.discard()
        self.variables.discard()

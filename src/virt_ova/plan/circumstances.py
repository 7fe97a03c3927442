"""What all hardware of one machine is chosen by."""

from __future__ import annotations

from dataclasses import dataclass

from virt_ova.plan.board import Board
from virt_ova.plan.guest import Guest
from virt_ova.plan.host import HostCapabilities
from virt_ova.plan.options import InstallOptions, MachineStyle


@dataclass(frozen=True, kw_only=True, slots=True)
class Circumstances:
    """What hardware is chosen by.

    Attributes:
        board: firmware and chipset.
        host: what the target offers.
        guest: who must have the drivers.
        options: what the user wants.
    """

    board: Board
    host: HostCapabilities
    guest: Guest
    options: InstallOptions

    @property
    def is_faithful(self) -> bool:
        """Whether a chip that QEMU has is kept even if the firmware cannot boot from it."""
        return self.options.machine is MachineStyle.FAITHFUL

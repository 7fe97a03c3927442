"""Whose EFI variables a machine starts with: the package's own where the host's firmware can use them."""

from __future__ import annotations

from dataclasses import replace

from virt_ova.errors import PlanError
from virt_ova.findings import Severity
from virt_ova.plan.board import Board
from virt_ova.plan.efivars import VariableStore
from virt_ova.plan.host import HostCapabilities
from virt_ova.plan.ledger import Ledger
from virt_ova.plan.machine import Firmware
from virt_ova.plan.plan import InstallPlan, Outcome
from virt_ova.plan.systems import Blueprint
from virt_ova.plan.transfers import Transfers
from virt_ova.text import quoted


def plan_variables(
    blueprint: Blueprint, board: Board, host: HostCapabilities, transfers: Transfers, ledger: Ledger
) -> Firmware:
    """The firmware of `board`, with the package's own variables if they can be used.

    Args:
        blueprint: says in which file they are.
        board: firmware and chipset.
        host: what the host offers.
        transfers: takes the file.
        ledger: takes decisions and findings.
    """
    file_id = blueprint.variables_file
    if not (file_id and board.is_efi):
        return board.firmware
    source = transfers.files.get(file_id)
    store = source.variables if source else None
    problem = _problem(store, board, host) if store else f"there is no file {quoted(file_id)}"
    if problem or source is None or store is None:
        message = (
            f"the package's EFI variables are not taken over: {problem}; the machine starts with fresh ones, and boots "
            r"what is at \EFI\BOOT\BOOTX64.EFI"
        )
        ledger.note("NVRAM_FRESH", Severity.WARNING, message)
        return board.firmware
    reason = f"the host's firmware reads them; boot entries: {store.boot_entries}"
    ledger.setting(Outcome.KEPT, "EFI variables", quoted(source.member), reason)
    return replace(board.firmware, variables=transfers.add_variables(blueprint.name, source))


def check_variables(plan: InstallPlan, host: HostCapabilities) -> None:
    """Refuse variables that the host's firmware cannot use; the plan may have been made for another host.

    Raises:
        PlanError: they are of another size (``E_PLAN_HARDWARE``).
    """
    sizes = {transfer.id: transfer.capacity_bytes for transfer in plan.transfers}
    for machine in plan.machines:
        key = (machine.chipset, machine.firmware.secure_boot)
        found = sizes.get(machine.firmware.variables)
        expected = host.variables_bytes.get(key, found)
        if found != expected and found is not None:
            raise PlanError(
                f"the EFI variables of {quoted(machine.name)} have {found} bytes, and the host's firmware keeps "
                f"{expected}",
                code="E_PLAN_HARDWARE",
                hint="Make the plan anew for this host, or take the variables out of it.",
            )


def _problem(store: VariableStore, board: Board, host: HostCapabilities) -> str:
    """Why the host's firmware cannot use the variables of `store`; empty when it can."""
    if store.problem:
        return store.problem
    expected = host.variables_bytes.get((board.chipset, board.firmware.secure_boot))
    if expected is None:
        return "the host does not tell how large the variables of its firmware are"
    if store.size_bytes != expected:
        return f"they have {store.size_bytes} bytes, and the host's firmware keeps {expected}"
    if board.firmware.secure_boot and not store.has_platform_key:
        return "secure boot is to be enforced, and they do not say which loaders it lets start"
    return ""

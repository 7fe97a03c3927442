"""A machine, or a vApp, that was imported."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from pyVmomi import vim, vmodl

from virt_ova.target.base import BootReport
from virt_ova.target.esx.errors import translated
from virt_ova.target.esx.session import Session, run_task
from virt_ova.text import printable, quoted

_TICK_SECONDS: Final = 1.0
_VANISHING_SECONDS: Final = 3.0
_ON: Final = "poweredOn"


class EsxMachine:
    """A `virt_ova.target.base.Domain`.

    Attributes:
        name: its name.
        uuid: its BIOS UUID; empty for a vApp.
        start_command: none: nothing that is sure to be installed here can start it.
    """

    start_command = ""

    def __init__(self, session: Session, entity: Any, *, name: str, uuid: str) -> None:  # noqa: ANN401 - pyvmomi has no types
        self._session, self._entity = session, entity
        self.name, self.uuid = name, uuid

    def start(self) -> None:
        """See `Domain.start`."""
        doing = f"starting {quoted(self.name)}"
        with translated(doing):
            is_group = isinstance(self._entity, vim.VirtualApp)
            run_task(self._entity.PowerOnVApp_Task() if is_group else self._entity.PowerOnVM_Task(), doing)

    def watch(self, seconds: float) -> BootReport:
        """See `Domain.watch`; what can be seen from outside is what VMware Tools in the guest report."""
        self.start()
        begun = time.monotonic()
        seen = BootReport(machine=self.name, state="no-output", seconds=0.0, evidence="")
        with translated(f"watching {quoted(self.name)}"):
            while seen.state != "network" and (passed := time.monotonic() - begun) < seconds:
                seen = self._look(passed, seen)
                time.sleep(min(_TICK_SECONDS, max(0.0, seconds - passed)))
        return seen

    def discard(self) -> None:
        """See `Domain.discard`; the disks of an imported machine go with it."""
        with translated(f"removing {quoted(self.name)}"):
            self._session.lasting(lambda session: remove(session, self._entity))

    def _look(self, passed: float, before: BootReport) -> BootReport:
        """What is seen now; a vApp is as far as the last of its machines that were started."""
        guests = [each.guest for each in _machines(self._session, self._entity) if each.runtime.powerState == _ON]
        addresses = [printable(str(guest.ipAddress or "")) if guest else "" for guest in guests]
        state, evidence = before.state, "VMware Tools run in the guest"
        if addresses and all(addresses):
            state, evidence = "network", ", ".join(addresses)
        elif guests and all(guest and guest.toolsRunningStatus == "guestToolsRunning" for guest in guests):
            state = "agent"
        if state == before.state:
            return before
        address = addresses[0] if len(addresses) == 1 else ""
        return BootReport(machine=self.name, state=state, seconds=round(passed, 1), evidence=evidence, address=address)


def remove(session: Session, entity: Any) -> None:  # noqa: ANN401 - pyvmomi has no types
    """Stop the machine or vApp if it runs, and remove it with its disks; one that is gone already is as good.

    Raises:
        TargetError: it takes too long.
        vmodl.MethodFault: it stays.
    """
    thing = session.own(entity)
    try:
        _stop(session, thing)
        run_task(thing.Destroy_Task(), "removing it")
    except vmodl.fault.ManagedObjectNotFound:
        return
    except vmodl.MethodFault:
        if not _vanishes(thing):
            raise


def _vanishes(thing: Any) -> bool:  # noqa: ANN401 - pyvmomi has no types
    """Whether it goes by itself: a server removes the machine of a lease that was aborted, in its own time."""
    deadline = time.monotonic() + _VANISHING_SECONDS
    while time.monotonic() < deadline:
        try:
            str(thing.name)
        except vmodl.fault.ManagedObjectNotFound:
            return True
        time.sleep(_TICK_SECONDS / 2)
    return False


def _stop(session: Session, thing: Any) -> None:  # noqa: ANN401 - pyvmomi has no types
    if all(machine.runtime.powerState == "poweredOff" for machine in _machines(session, thing)):
        return
    is_group = isinstance(thing, vim.VirtualApp)
    run_task(thing.PowerOffVApp_Task(force=True) if is_group else thing.PowerOffVM_Task(), "stopping it")


def _machines(session: Session, thing: Any) -> Sequence[Any]:  # noqa: ANN401 - pyvmomi has no types
    """The machine, or all in the vApp, those in vApps of its own included."""
    return session.inside(thing, vim.VirtualMachine) if isinstance(thing, vim.VirtualApp) else [thing]

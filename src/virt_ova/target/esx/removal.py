"""Removes what an install that was killed has made on a vSphere, by its journal.

A machine is known by its BIOS UUID and a vApp by its instance UUID, both chosen here before the server is asked to make
them. As soon as the server has named it, its managed object id is known, too, and it is looked for nowhere else. A name
finds nothing.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

from pyVmomi import vim, vmodl

from virt_ova.errors import TargetError
from virt_ova.target.esx.machine import remove
from virt_ova.target.esx.session import Session, shown_name
from virt_ova.target.record import Record, Removal
from virt_ova.text import quoted

BY_HAND: Final = (
    "Remove it in the host's or the vCenter's client. The lease of an install that was killed may still hold it: the "
    "server takes that back within minutes, and the machine with it."
)


class Kind(StrEnum):
    """What an object is."""

    MACHINE = "machine"
    GROUP = "vApp"


_TYPES: Final = {Kind.MACHINE: vim.VirtualMachine, Kind.GROUP: vim.VirtualApp}


def intended(kind: Kind, name: str, uuid: str) -> Record:
    """What is about to be made."""
    return Record(kind=kind, name=name, key={"uuid": uuid})


def made(record: Record, entity: Any) -> Record:  # noqa: ANN401 - pyvmomi has no types
    """The same, now that it is `entity`, which may have been given another UUID.

    Raises:
        TargetError: it is another's (``E_LEASE``).
        vmodl.MethodFault: it cannot be asked.
    """
    if is_anothers(record, entity):
        raise TargetError(
            f"the lease is for the {record.kind} {quoted(shown_name(entity.name))}, expected {quoted(record.name)}",
            code="E_LEASE",
            hint="Look at the events of the host or vCenter, then try again.",
        )
    key = {"uuid": _uuid_of(entity) or record.key["uuid"], "moid": entity._GetMoId()}  # noqa: SLF001 - pyvmomi's word for a public thing
    return Record(kind=record.kind, name=record.name, key=key)


def is_anothers(record: Record, entity: Any) -> bool:  # noqa: ANN401 - pyvmomi has no types
    """Whether `entity` has neither the UUID nor the name of what was to be made. Raises `vmodl.MethodFault`."""
    return _uuid_of(entity) not in {"", record.key["uuid"]} and shown_name(entity.name) not in {"", record.name}


def remove_recorded(session: Session, record: Record) -> Removal:
    """See `virt_ova.target.record.Recoverable.remove`. Raises `vmodl.MethodFault` as well."""
    try:
        if (entity := _found(session, record)) is None:
            return Removal.ABSENT
        uuid = _uuid_of(entity)
    except vmodl.fault.ManagedObjectNotFound:
        return Removal.ABSENT
    if not uuid:
        raise TargetError(
            f"the server does not tell the UUID of the {record.kind} {quoted(record.name)}, expected "
            f"{record.key['uuid']}",
            code="E_UNCERTAIN",
        )
    if uuid != record.key["uuid"]:
        return Removal.FOREIGN
    remove(session, entity)
    return Removal.REMOVED


def _found(session: Session, record: Record) -> Any:  # noqa: ANN401 - pyvmomi has no types
    """The object, or what has its id by now; None when there is none."""
    kind, content = Kind(record.kind), session.content
    if moid := record.key.get("moid"):
        return session.thing(_TYPES[kind], moid)
    if kind is Kind.MACHINE:
        return content.searchIndex.FindByUuid(None, record.key["uuid"], vmSearch=True, instanceUuid=False)
    groups = session.inside(content.rootFolder, _TYPES[kind])
    return next((group for group in groups if _uuid_of(group) == record.key["uuid"]), None)


def _uuid_of(entity: Any) -> str:  # noqa: ANN401 - pyvmomi has no types
    """Empty while the server has none."""
    if isinstance(entity, vim.VirtualApp):
        group = entity.vAppConfig
        return str(group.instanceUuid or "").lower() if group else ""
    machine = entity.config
    return str(machine.uuid or "").lower() if machine else ""

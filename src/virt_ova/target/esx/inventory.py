"""The place in a vSphere where machines go: what a URI's path and the options name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyVmomi import vim

from virt_ova.errors import TargetError
from virt_ova.findings import Finding, Severity
from virt_ova.target.esx.errors import translated
from virt_ova.target.esx.session import Session, shown_name
from virt_ova.target.esx.uri import Address
from virt_ova.text import printable, quoted
from virt_ova.units import format_bytes

_POOL = "resource pool"
_LISTED = 1000
"""Most characters of a list of names in a message."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where machines go; managed objects, but for the names.

    Attributes:
        folder: takes the machines.
        pool: gives them their resources.
        host: runs them; None when a cluster decides.
        datastore: takes their disks.
        datastore_name: for people.
        networks: by name.
        findings: what was chosen unasked.
    """

    folder: Any
    pool: Any
    host: Any
    datastore: Any
    datastore_name: str
    networks: Mapping[str, Any]
    findings: tuple[Finding, ...]


def find_place(session: Session, *, datastore: str | None) -> Place:
    """The place that the session's address names.

    Raises:
        TargetError: something of it is not there (``E_URI``, ``E_POOL``), or cannot be asked for.
    """
    address = session.address
    with translated(f"looking around in {quoted(address.uri)}"):
        datacenter, compute, host = _walk(session)
        store, name, findings = _datastore(host or compute, datastore, address)
        pool = _below(session, compute.resourcePool, address.resource_pool, lambda pool: pool.resourcePool, _POOL)
        folder = _below(session, datacenter.vmFolder, address.folder, _folders, "folder")
        return Place(
            folder=folder,
            pool=pool,
            host=host,
            datastore=store,
            datastore_name=name,
            networks=session.names_of((host or compute).network),
            findings=findings,
        )


def find_machine(session: Session, name: str) -> Any:  # noqa: ANN401 - pyvmomi has no types
    """The machine `name`, in the folder that the session's address names, else anywhere on its host or cluster.

    Raises:
        TargetError: there is none, or more than one (``E_DOMAIN``); the address leads nowhere (``E_URI``).
    """
    address = session.address
    with translated(f"looking for {quoted(name)}"):
        datacenter, compute, host = _walk(session)
        if address.folder:
            folder = _below(session, datacenter.vmFolder, address.folder, _folders, "folder")
            things = [each for each in folder.childEntity if isinstance(each, vim.VirtualMachine)]
        else:
            things = [machine for each in ([host] if host else compute.host) for machine in each.vm]
        there = session.named(things)
    found = [machine for machine_name, machine in there if machine_name == printable(name)]
    if len(found) == 1:
        return found[0]
    if found:
        problem = f"has {len(found)} machines {quoted(name)}"
        hint = "Name the folder of the right one: ?folder=PATH behind the URI."
    else:
        problem = f"has no machine {quoted(name)}, there is: {_list(each for each, _ in there)}"
        hint = "Check the name, and the URI's path and folder."
    raise TargetError(f"{quoted(address.uri)} {problem}", code="E_DOMAIN", hint=hint)


def _walk(session: Session) -> tuple[Any, Any, Any]:
    """Datacenter, cluster or host with its resources, and the host when the path names one."""
    address, datacenter = session.address, session.content.rootFolder
    path = list(address.path)
    if not path:
        datacenter = _only(datacenter.childEntity, "datacenter", address)
    while not isinstance(datacenter, vim.Datacenter):
        datacenter = _child(session, datacenter.childEntity, path, "datacenter")
    compute = datacenter.hostFolder
    if not address.path:
        compute = _only(compute.childEntity, "host", address)
    while not isinstance(compute, vim.ComputeResource):
        compute = _child(session, compute.childEntity, path, "cluster or host")
    host = _child(session, compute.host, path, "host") if path else None
    if path:
        raise _missing("object", path[0], (), address)
    return datacenter, compute, host


def _only(things: Sequence[Any], kind: str, address: Address) -> Any:  # noqa: ANN401 - pyvmomi has no types
    if not things:
        raise _missing(kind, "", (), address)
    return things[0]


def _child(session: Session, things: Sequence[Any], path: list[str], kind: str) -> Any:  # noqa: ANN401 - pyvmomi has no types
    """That of `things` which the first name of `path` means; takes the name away."""
    names = session.names_of(things)
    wanted = path.pop(0) if path else ""
    if wanted not in names:
        raise _missing(kind, wanted, names, session.address)
    return names[wanted]


def _below(session: Session, top: Any, path: Iterable[str], inside: Callable[[Any], Sequence[Any]], kind: str) -> Any:  # noqa: ANN401 - pyvmomi has no types
    """What `path` leads to from `top`; `inside` lists what is in a thing."""
    names = list(path)
    while names:
        top = _child(session, inside(top), names, kind)
    return top


def _folders(folder: Any) -> list[Any]:  # noqa: ANN401 - pyvmomi has no types
    return [child for child in folder.childEntity if isinstance(child, vim.Folder)]


def _datastore(holder: Any, wanted: str | None, address: Address) -> tuple[Any, str, tuple[Finding, ...]]:  # noqa: ANN401 - pyvmomi has no types
    """The datastore `wanted`, else the one with most room; its name; and that it was chosen."""
    summaries = {shown_name(store.summary.name): store.summary for store in holder.datastore}
    usable = {name: each for name, each in summaries.items() if each.accessible}
    if wanted is not None:
        if wanted not in usable:
            raise _no_datastore(f"has no datastore {quoted(wanted)} that can be used, found {_list(usable)}", address)
        return usable[wanted].datastore, wanted, ()
    if not usable:
        raise _no_datastore("has no datastore that can be used", address)
    name = max(usable, key=lambda name: int(usable[name].freeSpace or 0))
    if len(usable) == 1:
        return usable[name].datastore, name, ()
    free = format_bytes(int(usable[name].freeSpace or 0))
    message = f"the datastore {quoted(name)} is taken, which has most room ({free}), of {_list(usable)}"
    finding = Finding(code="DATASTORE_DEFAULT", severity=Severity.INFO, message=message, where=address.uri)
    return usable[name].datastore, name, (finding,)


def _no_datastore(problem: str, address: Address) -> TargetError:
    return TargetError(
        f"{quoted(address.uri)} {problem}", code="E_POOL", hint="Name one of the host's datastores with --pool."
    )


def _missing(kind: str, wanted: str, there: Iterable[str], address: Address) -> TargetError:
    found = f"no {kind} {quoted(wanted)}" if wanted else f"no {kind}"
    return TargetError(
        f"{quoted(address.uri)} cannot be used: found {found}, there is: {_list(there)}",
        code="E_URI",
        hint="The path is DATACENTER/CLUSTER or DATACENTER/HOST, folders included, as the inventory shows them.",
    )


def _list(names: Iterable[str]) -> str:
    return printable(", ".join(f"'{name}'" for name in sorted(names)), limit=_LISTED) or "none"

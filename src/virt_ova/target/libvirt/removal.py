"""Removes what an install that was killed has made on libvirt, by its journal.

A domain is known by its UUID, which was chosen before it was made. libvirt's volumes have nothing of the kind, so a
volume is known by the file that it is, where that is on this host; elsewhere by the time of its last write once it is
complete, by the beginning of what was uploaded before, and by the odd length that it was made with until then. A volume
that a machine uses is never removed.
"""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import libvirt

from virt_ova.disk.sink import examined
from virt_ova.errors import TargetError
from virt_ova.kernel import has_identity
from virt_ova.target.libvirt import pool as pools
from virt_ova.target.libvirt.domain import remove_domain
from virt_ova.target.libvirt.errors import absent_is_fine, translated
from virt_ova.target.libvirt.hostexpand import upload_name
from virt_ova.target.libvirt.network import remove_network
from virt_ova.target.libvirt.records import Kind, net_undefine, undefine, vol_delete
from virt_ova.target.libvirt.volume import changed_of, delete, find_volume, head_of, length_of
from virt_ova.target.record import Record, Removal
from virt_ova.text import quoted


def remove(connection: Any, record: Record, *, uri: str) -> Removal:  # noqa: ANN401 - libvirt has no types
    """See `virt_ova.target.record.Recoverable.remove`; `uri` is for the hint."""
    try:
        match Kind(record.kind):
            case Kind.DOMAIN:
                return _remove_domain(connection, record)
            case Kind.NETWORK:
                return _remove_network(connection, record)
            case Kind.VOLUME | Kind.EXPANDED as kind:
                return _remove_volume(connection, kind, record)
    except TargetError as exc:
        exc.hint = f"virsh -c {shlex.quote(uri)} {_by_hand(record)}"
        raise


def _by_hand(record: Record) -> str:
    match Kind(record.kind):
        case Kind.DOMAIN:
            return undefine(record.key["uuid"])
        case Kind.NETWORK:
            return net_undefine(record.key["uuid"])
        case Kind.VOLUME | Kind.EXPANDED:
            return vol_delete(record.key["pool"], record.name)


def _remove_domain(connection: Any, record: Record) -> Removal:  # noqa: ANN401 - libvirt has no types
    found = None
    with translated(f"looking for {quoted(record.name)}"), absent_is_fine(libvirt.VIR_ERR_NO_DOMAIN):
        found = connection.lookupByUUIDString(record.key["uuid"])
    if found is None:
        return Removal.ABSENT
    remove_domain(found, record.name)
    return Removal.REMOVED


def _remove_network(connection: Any, record: Record) -> Removal:  # noqa: ANN401 - libvirt has no types
    found = None
    with translated(f"looking for the network {quoted(record.name)}"), absent_is_fine(libvirt.VIR_ERR_NO_NETWORK):
        found = connection.networkLookupByUUIDString(record.key["uuid"])
    if found is None:
        return Removal.ABSENT
    remove_network(found, record.name)
    return Removal.REMOVED


def _remove_volume(connection: Any, kind: Kind, record: Record) -> Removal:  # noqa: ANN401 - libvirt has no types
    with translated(f"looking for the storage pool {quoted(record.key['pool'])}"):
        pool = connection.storagePoolLookupByName(record.key["pool"])
    is_refreshed = pools.refresh(pool)
    if (volume := find_volume(pool, record.name)) is None:
        if not is_refreshed:
            raise TargetError(
                f"the storage pool {quoted(record.key['pool'])} cannot be refreshed because another job works in it, "
                f"and does not show {quoted(record.name)}",
                code="E_POOL",
            )
        return Removal.ABSENT
    if not _is_ours(connection, pool, volume, kind, record) or _is_used(connection, volume):
        return Removal.FOREIGN
    delete(volume, record.name)
    return Removal.REMOVED


def _is_ours(connection: Any, pool: Any, volume: Any, kind: Kind, record: Record) -> bool:  # noqa: ANN401 - libvirt has no types
    """Whether a volume is the one that was made. Raises `TargetError` when that cannot be told (``E_UNCERTAIN``)."""
    key = record.key
    if changed := key.get("changed"):
        return changed_of(volume) == changed
    match kind:
        case Kind.EXPANDED:
            return _is_expanded_from(pool, volume, record)
        case Kind.VOLUME if file := key.get("file"):
            path = Path(volume.path())
            with examined(path):
                return has_identity(path, file)
        case Kind.VOLUME:
            return length_of(volume) == int(key["length"]) or _begins_alike(connection, volume, record)
        case _:
            return False


def _begins_alike(connection: Any, volume: Any, record: Record) -> bool:  # noqa: ANN401 - libvirt has no types
    """Whether a volume begins with what was uploaded, or is empty, as one is whose upload has just begun."""
    if not (digest := record.key.get("head_sha256")):
        return False
    head_bytes, length = int(record.key["head_bytes"]), length_of(volume)
    if length == 0:
        return True
    if length < head_bytes:
        raise _uncertain(record, f"has {length} bytes, too few to compare it with what was uploaded")
    return hashlib.sha256(head_of(connection, volume, head_bytes)).hexdigest() == digest


def _is_expanded_from(pool: Any, volume: Any, record: Record) -> bool:  # noqa: ANN401 - libvirt has no types
    """Whether a volume is what the host was making from another one when the run was killed.

    The upload was removed when that was done, and nobody but us can have finished the upload at that very moment.
    """
    with translated(f"reading the volume {quoted(record.name)}"):
        capacity = int(volume.info()[1])
    if capacity != int(record.key["capacity"]):
        return False
    upload = find_volume(pool, upload_name(record.name))
    uploaded = changed_of(upload) if upload is not None else ""
    if uploaded != record.key["uploaded"]:
        raise _uncertain(record, "may have been made from what was uploaded, which has gone")
    return _seconds(changed_of(volume)) >= _seconds(uploaded)


def _is_used(connection: Any, volume: Any) -> bool:  # noqa: ANN401 - libvirt has no types
    """Whether any domain has the volume as a disk, or its EFI variables in it."""
    with translated("looking for the machines that use a volume"):
        path, pool, name = volume.path(), volume.storagePoolLookupByVolume().name(), volume.name()
        described = [ET.fromstring(domain.XMLDesc(0)) for domain in connection.listAllDomains(0)]  # noqa: S314 - libvirt made it
    if any(path == domain.findtext("os/nvram") for domain in described):
        return True
    sources = [source for domain in described for source in domain.iterfind("devices/disk/source")]
    return any(
        path in source.attrib.values() or (source.get("pool"), source.get("volume")) == (pool, name)
        for source in sources
    )


def _seconds(text: str) -> tuple[int, int]:
    seconds, _, nanoseconds = text.partition(".")
    return int(seconds), int(nanoseconds or 0)


def _uncertain(record: Record, problem: str) -> TargetError:
    return TargetError(f"the volume {quoted(record.name)} {problem}", code="E_UNCERTAIN")

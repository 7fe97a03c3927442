"""Storage pools: which one is used, and how much room it has."""

from __future__ import annotations

import os
import shlex
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import libvirt

from virt_ova.errors import TargetError
from virt_ova.target.libvirt.errors import absent_is_fine, translated
from virt_ova.target.libvirt.uri import is_local
from virt_ova.text import quoted
from virt_ova.undo import Made, take_back

DEFAULT_POOL: Final = "default"
SYSTEM_FOLDER: Final = "/var/lib/libvirt/images"

_FILE_POOLS: Final = frozenset({"dir", "fs", "netfs"})
"""Pool types whose volumes are files."""

_REFRESH_TRIES: Final = 20
_REFRESH_SECONDS: Final = 0.1


def find_pool(connection: Any, name: str | None, *, uri: str) -> Any:  # noqa: ANN401 - libvirt has no types
    """The pool `name`, started if it was not; for None the one that virt-install would use.

    That is ``default``, else the only pool there is. None is returned when there is no pool at all.

    Raises:
        TargetError: there is no such pool, the choice is open, or its volumes are no files (``E_POOL``).
    """
    with translated("listing the storage pools"):
        pools = {pool.name(): pool for pool in connection.listAllStoragePools(0)}
    if name is None and not pools:
        return None
    chosen = pools.get(name or DEFAULT_POOL)
    if chosen is None and name is None and len(pools) == 1:
        chosen = next(iter(pools.values()))
    if chosen is None:
        known = ", ".join(quoted(known) for known in sorted(pools)) or "none"
        raise TargetError(
            f"{uri} has no storage pool {quoted(name or DEFAULT_POOL)}, found {known}",
            code="E_POOL",
            hint="Choose one with --pool.",
        )
    return _usable(chosen)


def make_default_pool(connection: Any, *, uri: str) -> Any:  # noqa: ANN401 - libvirt has no types
    """Make, start and keep the pool ``default``, as virt-install does on a fresh host.

    Raises:
        TargetError: it cannot be made, or this is the session of a user on another host (``E_POOL``).
    """
    pool_xml = ET.Element("pool", {"type": "dir"})
    ET.SubElement(pool_xml, "name").text = DEFAULT_POOL
    ET.SubElement(ET.SubElement(pool_xml, "target"), "path").text = default_folder(uri)
    with translated(f"making the storage pool {quoted(DEFAULT_POOL)}", otherwise="E_POOL"):
        pool = connection.storagePoolDefineXML(ET.tostring(pool_xml, encoding="unicode"), 0)
        try:
            pool.build(0)
            pool.create(0)
            pool.setAutostart(1)
        except BaseException as exc:
            take_back([Made(what=f"storage pool {DEFAULT_POOL}", discard=pool.undefine)], exc)
            raise
    return pool


def made_by_others(connection: Any) -> Any:  # noqa: ANN401 - libvirt has no types
    """The active pool ``default``, which somebody else makes at the same time; None when nobody does."""
    for _ in range(_REFRESH_TRIES):
        with suppress(libvirt.libvirtError):
            pool = connection.storagePoolLookupByName(DEFAULT_POOL)
            if pool.isActive():
                return pool
        time.sleep(_REFRESH_SECONDS)
    return None


def default_folder(uri: str) -> str:
    """Where virt-install puts the pool ``default``.

    Raises:
        TargetError: this is the session of a user on another host, whose folders are not known here (``E_POOL``).
    """
    if not urlsplit(uri).path.startswith("/session"):
        return SYSTEM_FOLDER
    if not is_local(uri):
        raise TargetError(
            f"{uri} has no storage pool, and where its user keeps images is not known here",
            code="E_POOL",
            hint=f"Make one: virsh -c {shlex.quote(uri)} pool-create-as default dir --target FOLDER",
        )
    data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local/share")
    return f"{data}/libvirt/images"


def folder_of(pool: Any) -> Path:  # noqa: ANN401 - libvirt has no types
    """The pool's folder on its host."""
    with translated("reading a storage pool"):
        return Path(ET.fromstring(pool.XMLDesc(0)).findtext("target/path", ""))  # noqa: S314 - libvirt made it


def free_bytes(pool: Any, *, is_local: bool) -> int:  # noqa: ANN401 - libvirt has no types
    """Free space of the pool now, not when it was last looked at."""
    with suppress(OSError):  # who may not look there asks libvirt
        if is_local:
            status = os.statvfs(folder_of(pool))
            return status.f_bavail * status.f_frsize
    refresh(pool)
    with translated(f"examining the storage pool {quoted(pool.name())}"):
        return int(pool.info()[3])


def refresh(pool: Any) -> bool:  # noqa: ANN401 - libvirt has no types
    """Let libvirt look at the pool's files again; whether it did. It refuses while another job works in the pool.

    Raises:
        TargetError: libvirt failed otherwise.
    """
    for _ in range(_REFRESH_TRIES):
        with (
            translated(f"refreshing the storage pool {quoted(pool.name())}"),
            absent_is_fine(libvirt.VIR_ERR_INTERNAL_ERROR),
        ):
            pool.refresh(0)
            return True
        time.sleep(_REFRESH_SECONDS)
    return False


def _usable(pool: Any) -> Any:  # noqa: ANN401 - libvirt has no types
    """`pool`, active and of a type whose volumes are files."""
    name = pool.name()
    with translated(f"starting the storage pool {quoted(name)}", otherwise="E_POOL"):
        kind = ET.fromstring(pool.XMLDesc(0)).get("type", "")  # noqa: S314 - libvirt made it
        if kind not in _FILE_POOLS:
            raise TargetError(
                f"the storage pool {quoted(name)} is of type {quoted(kind)}, expected dir, fs or netfs", code="E_POOL"
            )
        if not pool.isActive():
            _start(pool)
    return pool


def _start(pool: Any) -> None:  # noqa: ANN401 - libvirt has no types
    """Start `pool`, or let somebody else do it at the same time. Raises `libvirtError`."""
    try:
        pool.create(0)
    except libvirt.libvirtError:
        if not pool.isActive():
            raise

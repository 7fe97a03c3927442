"""What of libvirt's objects the journal keeps; `virt_ova.target.libvirt.removal` removes by it."""

from __future__ import annotations

import hashlib
import shlex
from enum import StrEnum
from typing import Final

from virt_ova.target.record import Record

HEAD_BYTES: Final = 34 << 10
"""So much of an upload's beginning is kept, as a digest. Of a CD that is all up to its first folder, with the time at
which it was made, and no file: a digest of passwords would give them away to who can guess."""


class Kind(StrEnum):
    """What an object is."""

    VOLUME = "volume"
    EXPANDED = "expanded volume"
    """One that the host makes from another one."""

    DOMAIN = "domain"
    NETWORK = "network"


def volume_record(
    pool: str, name: str, *, length: int = 0, file: str = "", sealed: str = "", head: bytes = b"", changed: str = ""
) -> Record:
    """A volume.

    Args:
        pool: its pool.
        name: its name.
        length: the one that it was made with; it has it until something is written.
        file: identity of its file, which is on this host.
        sealed: `virt_ova.kernel.seal_of` that file, now that it is complete.
        head: what the upload begins with.
        changed: when its file was written last, by libvirt's word, now that it is complete.
    """
    key = {"pool": pool, "length": str(length or ""), "file": file, "sealed": sealed, "changed": changed}
    kept = head[:HEAD_BYTES]
    digest = {"head_bytes": str(len(kept)), "head_sha256": hashlib.sha256(kept).hexdigest()} if kept else {}
    return Record(kind=Kind.VOLUME, name=name, key={**{word: text for word, text in key.items() if text}, **digest})


def expanded_record(pool: str, name: str, *, capacity_bytes: int, uploaded: str, changed: str = "") -> Record:
    """A volume that the host makes from one that was last written at `uploaded`; `changed` is known when it is made."""
    key = {"pool": pool, "capacity": str(capacity_bytes), "uploaded": uploaded}
    return Record(kind=Kind.EXPANDED, name=name, key={**key, "changed": changed} if changed else key)


def domain_record(name: str, uuid: str) -> Record:
    """A domain."""
    return Record(kind=Kind.DOMAIN, name=name, key={"uuid": uuid})


def network_record(name: str, uuid: str) -> Record:
    """A network."""
    return Record(kind=Kind.NETWORK, name=name, key={"uuid": uuid})


def vol_delete(pool: str, name: str) -> str:
    """What removes a volume, behind ``virsh -c URI``."""
    return f"vol-delete --pool {shlex.quote(pool)} {shlex.quote(name)}"


def undefine(uuid: str) -> str:
    """What removes a domain, behind ``virsh -c URI``."""
    return f"undefine --nvram {shlex.quote(uuid)}"


def net_undefine(uuid: str) -> str:
    """What removes a network, behind ``virsh -c URI``."""
    return f"net-undefine {shlex.quote(uuid)}"

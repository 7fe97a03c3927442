"""Whether machines of a libvirt on this host can read a package where it lies.

libvirt would give the file to QEMU's user, as it does with images; the domain's XML forbids that, because the package
is somebody's own. So QEMU's user must be able to read it as it is, and libvirt tells who that is.
"""

from __future__ import annotations

import errno
import os
import pwd
import re
import stat
import struct
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

from virt_ova.errors import TargetError
from virt_ova.plan.inputs import Backing
from virt_ova.target.libvirt.errors import translated
from virt_ova.text import quoted

_FORMATS: Final = frozenset({"raw", "qcow2", "vmdk", "vpc", "vdi"})
"""Of QEMU's formats those that libvirt has, too."""

_OWNERS: Final = re.compile(r"\+(\d+):\+(\d+)")
"""User and group, as libvirt writes the label of QEMU's process."""

_ACL: Final = "system.posix_acl_access"
_ACL_ENTRY: Final = struct.Struct("<HHI")
"""tag, permissions, id of ``struct posix_acl_xattr_entry``; a version of 4 bytes stands before the first."""

_ACL_VERSION_BYTES: Final = 4
_USER, _GROUP_OWNER, _GROUP, _MASK = 0x02, 0x04, 0x08, 0x10
_READ, _PASS = 4, 1


def check(connection: Any, backing: Backing, *, uri: str, is_local: bool) -> None:  # noqa: ANN401 - libvirt has no types
    """Refuse a package that machines of `connection` could not read.

    Raises:
        TargetError: the host is another, libvirt does not know the format, or QEMU's user may not read the package
            (``E_DISK_LINK``).
    """
    if not is_local:
        raise _refused(
            f"{uri} is another host, and the package is on this one", "Use --disk-mode transplant or expand."
        )
    if backing.image_format not in _FORMATS:
        raise _refused(f"libvirt does not know the format {backing.image_format}", "Use --disk-mode expand.")
    with translated("asking who runs QEMU"):
        owner = qemu_owner(connection.getCapabilities())
    if owner is not None and (barrier := barrier_for(Path(backing.path), *owner)) is not None:
        done = "pass through the folder" if barrier.is_dir() else "read"
        mode = "x" if barrier.is_dir() else "r"
        raise _refused(
            f"QEMU's user {_user_name(owner[0])} may not {done} {quoted(str(barrier))}",
            f"Allow it (setfacl -m u:{_user_name(owner[0])}:{mode} PATH), or move the package, for example to /srv.",
        )


def qemu_owner(capabilities: str) -> tuple[int, int] | None:
    """User and group that run QEMU, by libvirt's capabilities; None when they are those of the connection."""
    for model in ET.fromstring(capabilities).iterfind("host/secmodel"):  # noqa: S314 - libvirt made it
        if model.findtext("model") == "dac" and (match := _OWNERS.fullmatch(model.findtext("baselabel", ""))):
            return int(match[1]), int(match[2])
    return None


def barrier_for(file: Path, user: int, group: int) -> Path | None:
    """The first folder on the way to `file` that `user` may not pass, or the file if he may not read it; else None."""
    if user == 0:
        return None
    groups = _groups_of(user, group)
    for folder in reversed(file.parents):
        if not _may(folder, user, groups, _PASS):
            return folder
    return None if _may(file, user, groups, _READ) else file


def _may(path: Path, user: int, groups: frozenset[int], wanted: int) -> bool:
    """Whether permission bits and access control list give `wanted` (acl(5), "Access check algorithm")."""
    status = path.stat()
    owner_bits, group_bits, other_bits = (stat.S_IMODE(status.st_mode) >> shift & 7 for shift in (6, 3, 0))
    if user == status.st_uid:
        return bool(owner_bits & wanted)
    entries = _acl(path)
    mask = next((bits for tag, bits, _ in entries if tag == _MASK), 7)
    for tag, bits, number in entries:
        if tag == _USER and number == user:
            return bool(bits & mask & wanted)
    own_group = [next((bits for tag, bits, _ in entries if tag == _GROUP_OWNER), group_bits)]
    granted = own_group if status.st_gid in groups else []
    granted += [bits for tag, bits, number in entries if tag == _GROUP and number in groups]
    return any(bits & mask & wanted for bits in granted) if granted else bool(other_bits & wanted)


def _acl(path: Path) -> list[tuple[int, int, int]]:
    """Tag, permissions and id of each entry of the access control list; none where there is none."""
    try:
        data = os.getxattr(path, _ACL)
    except OSError as exc:
        if exc.errno in {errno.ENODATA, errno.ENOTSUP}:
            return []
        raise
    return list(_ACL_ENTRY.iter_unpack(data[_ACL_VERSION_BYTES:]))


def _groups_of(user: int, group: int) -> frozenset[int]:
    """All groups of `user`; libvirt gives QEMU the supplementary ones, too."""
    try:
        return frozenset(os.getgrouplist(pwd.getpwuid(user).pw_name, group))
    except KeyError:
        return frozenset({group})


def _user_name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def _refused(reason: str, hint: str) -> TargetError:
    return TargetError(f"the disk cannot be linked: {reason}", code="E_DISK_LINK", hint=hint)

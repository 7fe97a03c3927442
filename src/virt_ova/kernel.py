"""Two calls of Linux that Python has no name for: statx(2) and renameat2(2)."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from pathlib import Path
from typing import Final

_LIBC: Final = ctypes.CDLL(None, use_errno=True)

_AT_FDCWD: Final = -100
_AT_SYMLINK_NOFOLLOW: Final = 0x100
_STATX_INO: Final = 0x100
_STATX_BTIME: Final = 0x800
_STATX_BYTES: Final = 256
_INODE_OFFSET: Final = 32
_BIRTH_OFFSET: Final = 80
_RENAME_NOREPLACE: Final = 1


def file_identity(path: Path) -> str:
    """What tells the file or folder `path`, a link itself, from every other one that had, or will have, its name.

    That is its inode and the time of its birth, because the number of an inode is given away again at once; where the
    file system keeps no time of birth, the inode and its device.

    Raises:
        OSError: there is none, or it cannot be looked at.
    """
    return _birth(path) or _place(path)


def has_identity(path: Path, identity: str) -> bool:
    """Whether `path` is the file that `file_identity` told of. Raises `OSError`."""
    try:
        return identity in {_birth(path), _place(path)}
    except (FileNotFoundError, NotADirectoryError):
        return False


def _birth(path: Path) -> str:
    """Inode and time of birth; empty when that is not to be had."""
    statx = getattr(_LIBC, "statx", None)
    answer = ctypes.create_string_buffer(_STATX_BYTES)
    wanted = _STATX_INO | _STATX_BTIME
    if statx is None or statx(_AT_FDCWD, _name(path), _AT_SYMLINK_NOFOLLOW, wanted, answer):
        return ""
    (mask,), (inode,) = struct.unpack_from("I", answer), struct.unpack_from("Q", answer, _INODE_OFFSET)
    seconds, nanoseconds = struct.unpack_from("qI", answer, _BIRTH_OFFSET)
    return f"{inode} born {seconds}.{nanoseconds:09d}" if mask & _STATX_BTIME and seconds else ""


def _place(path: Path) -> str:
    """Inode and device. Raises `OSError`."""
    status = path.lstat()
    return f"{status.st_ino} on {status.st_dev}"


def seal_of(path: Path) -> str:
    """What tells whether the file `path` was written to: its length, and when that was last. Raises `OSError`."""
    status = path.lstat()
    return f"{status.st_size} bytes at {status.st_mtime_ns}"


def rename_new(old: Path, new: Path) -> bool:
    """Rename without replacing anything.

    Returns:
        False, with nothing done, where the file system or the C library cannot do that.

    Raises:
        FileExistsError: something has the name `new`.
        OSError: it failed otherwise.
        ValueError: no file can have that name.
    """
    renameat2 = getattr(_LIBC, "renameat2", None)
    if renameat2 is None:
        return False
    if renameat2(_AT_FDCWD, _name(old), _AT_FDCWD, _name(new), _RENAME_NOREPLACE) == 0:
        return True
    number = ctypes.get_errno()
    if number in {errno.EINVAL, errno.ENOSYS}:
        return False
    raise OSError(number, os.strerror(number), str(new))


def _name(path: Path) -> bytes:
    """`path` as C has it. Raises ValueError for a NUL, behind which C would see nothing."""
    if b"\0" in (name := os.fsencode(path)):
        raise ValueError("embedded null byte")
    return name

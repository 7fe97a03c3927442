"""A package that is not packed: a folder, or a lone descriptor with its files beside it.

Files are opened when they are asked for, beneath one directory descriptor, and no symbolic link is followed: a name
from the package cannot lead out of the folder, however the folder changes meanwhile. The kernel's ``openat2`` does this
in one call (Linux 5.6); elsewhere each part of the name is opened by itself.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from virt_ova.errors import SourceError
from virt_ova.paths import PATH_ERRORS
from virt_ova.source.base import Archive, Member, MemberName, truncated
from virt_ova.source.file import OPEN_FLAGS, LocalFile, cannot_open
from virt_ova.source.names import check_member_name, is_apple_double
from virt_ova.text import quoted

_DIRECTORY_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY
_OPENAT2 = 437
"""System call number, the same on every architecture that Linux got since 2019, and on all older ones but Alpha."""
_RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS, _RESOLVE_BENEATH = 0x02, 0x04, 0x08
_NOT_OFFERED = (errno.ENOSYS, errno.EPERM)
"""An older kernel, or a container's filter that does not know the call."""
_LEADS_OUTSIDE = (errno.ELOOP, errno.ENOTDIR, errno.EXDEV)


class _OpenHow(ctypes.Structure):
    """``struct open_how`` of linux/openat2.h."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class Folder:
    """An open directory and what was opened in it; as a byte source it is empty, and stands for all of its files."""

    size = 0

    def __init__(self, path: str) -> None:
        try:
            self._descriptor = os.open(path, _DIRECTORY_FLAGS)
        except PATH_ERRORS as exc:
            raise cannot_open(path, exc) from exc
        self._files: dict[MemberName, LocalFile] = {}
        self.name = path

    def names(self) -> list[MemberName]:
        """What lies directly in it, except folders, AppleDouble files, and names that no package can use; sorted."""
        with os.scandir(self._descriptor) as entries:
            found = [entry.name for entry in entries if not entry.is_dir(follow_symlinks=False)]
        return sorted(filter(None, map(_usable_name, found)))

    def open(self, name: MemberName) -> LocalFile:
        """The file `name`, in this folder or a plain sub-folder; opened once.

        Raises:
            FileNotFoundError: it is not there.
            SourceError: it is a symbolic link or behind one (``E_REF_OUTSIDE``), no regular file (``E_NOT_OVA``), or
                cannot be opened (``E_SOURCE_OPEN``).
        """
        if name not in self._files:
            self._files[name] = LocalFile(self._open_descriptor(name), f"{self.name}/{name}")
        return self._files[name]

    def read_at(self, offset: int, size: int) -> bytes:
        """Nothing: a folder has no bytes of its own."""
        raise truncated(self.name, offset + size, self.size)

    def fileno(self) -> None:
        """None, as there are no bytes."""

    def check_unchanged(self) -> None:
        """Check every file that was opened."""
        for file in self._files.values():
            file.check_unchanged()

    def close(self) -> None:
        """Close every file, and the directory."""
        for file in self._files.values():
            file.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open_descriptor(self, name: MemberName) -> int:
        try:
            return open_beneath(self._descriptor, name)
        except FileNotFoundError:
            raise
        except OSError as exc:
            if exc.errno not in _LEADS_OUTSIDE:
                raise cannot_open(name, exc) from exc
            raise SourceError(
                f"{quoted(name)} is a symbolic link or lies behind one, expected a file in the package's folder",
                code="E_REF_OUTSIDE",
                hint="Replace the link by the file it names.",
            ) from exc


class _FolderMembers(Mapping[MemberName, Member]):
    """Members by name, opened when looked up; iterates over the top of the folder, looks up in sub-folders too."""

    def __init__(self, folder: Folder, descriptor: MemberName | None) -> None:
        self._folder = folder
        self._descriptor = descriptor
        self._names = [name for name in folder.names() if self._belongs(name)]

    def __getitem__(self, name: MemberName) -> Member:
        if not self._belongs(name):
            raise KeyError(name)
        try:
            source = self._folder.open(name)
        except FileNotFoundError as exc:
            raise KeyError(name) from exc
        return Member(name=name, source=source, offset=0, size=source.size)

    def __iter__(self) -> Iterator[MemberName]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def _belongs(self, name: MemberName) -> bool:
        """Beside a lone descriptor, other descriptors and their manifests belong to other packages."""
        if self._descriptor is None or name == self._descriptor:
            return True
        suffix = PurePosixPath(name).suffix.lower()
        same_stem = PurePosixPath(name).stem == PurePosixPath(self._descriptor).stem
        return suffix not in {".ovf", ".vmx"} and (suffix not in {".mf", ".cert"} or same_stem)


def open_directory(path: str) -> Archive:
    """The package in the folder at `path`; the folder itself may be a symbolic link, nothing in it.

    Raises:
        SourceError: it cannot be opened (``E_SOURCE_OPEN``).
    """
    return _archive(path, path, None)


def open_descriptor(path: str) -> Archive:
    """The package of the lone descriptor at `path`, whose files lie beside it.

    Raises:
        SourceError: its folder cannot be opened (``E_SOURCE_OPEN``), or its name is refused (``E_TAR_NAME``).
    """
    parent, name = os.path.split(path)
    return _archive(path, parent or os.curdir, check_member_name(name))


def open_beneath(directory: int, name: MemberName) -> int:
    """A descriptor, for reading, of the file `name` beneath the open `directory`, through no link of any kind.

    Raises:
        OSError: as the system says; ELOOP, ENOTDIR or EXDEV where a link is in the way.
    """
    try:
        return _openat2(directory, name)
    except OSError as exc:
        if exc.errno not in _NOT_OFFERED:
            raise
    return _open_by_parts(directory, name)


def _archive(name: str, folder_path: str, descriptor: MemberName | None) -> Archive:
    folder = Folder(folder_path)
    return Archive(kind="ovf", name=name, members=_FolderMembers(folder, descriptor), sources=(folder,))


def _usable_name(name: str) -> MemberName | None:
    try:
        return None if is_apple_double(name) else check_member_name(name)
    except SourceError:
        return None


def _openat2(directory: int, name: MemberName) -> int:
    how = _OpenHow(
        flags=OPEN_FLAGS | os.O_NOFOLLOW,
        resolve=_RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS,
    )
    size = ctypes.c_size_t(ctypes.sizeof(how))
    descriptor: int = _libc().syscall(
        ctypes.c_long(_OPENAT2), ctypes.c_int(directory), os.fsencode(name), ctypes.byref(how), size
    )
    if descriptor < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), name)
    return descriptor


def _open_by_parts(directory: int, name: MemberName) -> int:
    *folders, file = name.split("/")
    current = os.dup(directory)
    try:
        for part in folders:
            parent, current = current, os.open(part, _DIRECTORY_FLAGS | os.O_NOFOLLOW, dir_fd=current)
            os.close(parent)
        return os.open(file, OPEN_FLAGS | os.O_NOFOLLOW, dir_fd=current)
    finally:
        os.close(current)


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)

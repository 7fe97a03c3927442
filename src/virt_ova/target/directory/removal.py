"""Removes what an install that was killed has made in a folder target, by its journal.

An object is the one that was made when it is the very file (`virt_ova.kernel.file_identity`). Where the run was killed
before that was written down, a folder still has the name that nobody else can have, and a file is empty, in a folder
that is ours.
"""

from __future__ import annotations

import errno
import shlex
import shutil
from collections.abc import Iterable
from pathlib import Path

from virt_ova.disk.sink import REMOVED, file_error, sync_directory
from virt_ova.errors import TargetError
from virt_ova.kernel import has_identity
from virt_ova.target.directory.domain import RUNNING_FILES, running_pid, stop
from virt_ova.target.directory.records import Kind
from virt_ova.target.directory.sockets import TPM_SOCKET
from virt_ova.target.directory.tpm import TPM_FOLDER, TPM_PID_FILE, end_tpm
from virt_ova.target.record import Record, Removal
from virt_ova.text import printable, quoted

_BUSY = frozenset({errno.ENOTEMPTY, errno.EEXIST})


def remove(record: Record) -> Removal:
    """See `virt_ova.target.record.Recoverable.remove`."""
    path = Path(record.key["path"])
    try:
        match record.kind:
            case Kind.MACHINE:
                return _remove_run(path, record.key["folder"])
            case Kind.TPM:
                return _end_idle_tpm(path, record.key["folder"])
            case Kind.FOLDER:
                return _remove_folder(path, record.key["own_name"], record.key["file"])
            case _:
                return _remove_file(path, record.key["folder"], record.key["file"])
    except OSError as exc:
        raise file_error(exc, path, REMOVED) from exc


def _remove_run(folder: Path, identity: str) -> Removal:
    """Stop the machine, and remove what QEMU and swtpm wrote in its folder."""
    if not has_identity(folder, identity):
        return Removal.ABSENT
    stop(folder)
    has_run = _unlink_all(folder, RUNNING_FILES)
    if has_tpm := (folder / TPM_FOLDER).exists():
        shutil.rmtree(folder / TPM_FOLDER)
    return Removal.REMOVED if has_run or has_tpm else Removal.ABSENT


def _end_idle_tpm(folder: Path, identity: str) -> Removal:
    """End a TPM to which no QEMU came."""
    if not has_identity(folder, identity) or running_pid(folder) is not None:
        return Removal.ABSENT
    end_tpm(folder)
    return Removal.REMOVED if _unlink_all(folder, (TPM_SOCKET, TPM_PID_FILE)) else Removal.ABSENT


def _unlink_all(folder: Path, names: Iterable[str]) -> bool:
    """Remove the files of those names; whether there was any. Raises `OSError`."""
    there = [path for path in map(folder.joinpath, names) if path.exists()]
    for path in there:
        path.unlink()
    return bool(there)


def _remove_file(path: Path, folder_identity: str, identity: str) -> Removal:
    if not path.is_symlink() and not path.exists():
        return Removal.ABSENT
    is_ours = has_identity(path, identity) if identity else _is_new(path, folder_identity)
    if not is_ours:
        return Removal.FOREIGN
    path.unlink()
    sync_directory(path.parent)
    return Removal.REMOVED


def _is_new(path: Path, folder_identity: str) -> bool:
    """Whether a file can be the one that was made in a folder of ours a moment before the run was killed."""
    return has_identity(path.parent, folder_identity) and path.lstat().st_size == 0


def _remove_folder(path: Path, own_name: str, identity: str) -> Removal:
    """Remove a folder as far as it is empty."""
    if own_name and Path(own_name).is_dir():
        return _remove_empty(Path(own_name))
    if not path.is_dir():
        return Removal.ABSENT
    if not identity and not own_name:
        raise TargetError(
            f"{quoted(str(path))} is a folder that may have been made by an install that was killed",
            code="E_UNCERTAIN",
            hint=f"If nobody needs it: rmdir {shlex.quote(printable(str(path)))}",
        )
    return _remove_empty(path) if identity and has_identity(path, identity) else Removal.FOREIGN


def _remove_empty(folder: Path) -> Removal:
    try:
        folder.rmdir()
    except OSError as exc:
        if exc.errno in _BUSY:
            return Removal.FOREIGN
        raise
    sync_directory(folder.parent)
    return Removal.REMOVED

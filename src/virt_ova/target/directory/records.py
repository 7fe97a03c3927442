"""What of a folder target the journal keeps; `virt_ova.target.directory.removal` removes by it."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path

from virt_ova.kernel import file_identity, has_identity
from virt_ova.target.record import Record


class Kind(StrEnum):
    """What an object is."""

    FOLDER = "folder"
    FILE = "file"
    MACHINE = "machine"
    TPM = "TPM"
    """One that was started for QEMU to connect to."""


def folder_record(folder: Path, own_name: Path | None = None, identity: str = "") -> Record:
    """A folder that is made as `own_name` first; `identity` is known once it is made."""
    key = {"path": str(folder), "own_name": str(own_name or ""), "file": identity}
    return Record(kind=Kind.FOLDER, name=str(folder), key=key)


def file_record(path: Path, identity: str = "", sealed: str = "") -> Record:
    """A file in a machine's folder; `sealed` is its `seal_of` once it is complete."""
    key = {"path": str(path), "folder": file_identity(path.parent), "file": identity, "sealed": sealed}
    return Record(kind=Kind.FILE, name=str(path), key=key)


def machine_record(folder: Path) -> Record:
    """A machine whose files are in `folder`: its TPM, and what QEMU adds when it runs."""
    return Record(kind=Kind.MACHINE, name=folder.name, key={"path": str(folder), "folder": file_identity(folder)})


def tpm_record(folder: Path) -> Record:
    """The TPM that runs for the machine in `folder`."""
    return replace(machine_record(folder), kind=Kind.TPM)


def is_as_recorded(folder: Record) -> bool:
    """Whether a folder is the one that was recorded. Raises `OSError`."""
    return has_identity(Path(folder.key["path"]), folder.key["file"])

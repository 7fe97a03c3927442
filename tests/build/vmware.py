"""Machines as VMware keeps them: a VMX with its disks in a folder; and libvirt's own reader of a VMX.

vmx("disk.vmdk")                                    # the text of a VMX with one disk
build_machine(tmp_path / "vm", raw, "monolithicFlat")    # a folder, its disk written by qemu-img
with_vmware(monkeypatch, tmp_path)                  # libvirt.open(CONVERTER).domainXMLFromNative("vmware-vmx", text)
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.build.disks import convert

CONVERTER: Final = "vmwareplayer:///session"
"""libvirt's driver for VMware Player, whose reader of a VMX needs nothing of VMware but its programs to be there."""

_PROGRAMS: Final = {
    "vmrun": 'echo "Total running VMs: 0"',
    "vmplayer": 'echo "VMware Player 17.5.0 build-22583795"',
}
"""What the driver asks of VMware when it is opened: which machines run, and which version it is."""

SETTINGS: Final = {
    ".encoding": "UTF-8",
    "config.version": "8",
    "virtualHW.version": "19",
    "displayName": "old machine",
    "guestOS": "debian12-64",
    "memsize": "512",
    "numvcpus": "2",
    "scsi0.present": "TRUE",
    "scsi0.virtualDev": "pvscsi",
    "ethernet0.present": "TRUE",
    "ethernet0.virtualDev": "vmxnet3",
    "ethernet0.connectionType": "nat",
}


def vmx(*disks: str, **more: str) -> bytes:
    """A VMX with `disks` on its SCSI controller, and `more` settings."""
    settings = dict(SETTINGS)
    for unit, name in enumerate(disks):
        settings |= {f"scsi0:{unit}.present": "TRUE", f"scsi0:{unit}.fileName": name}
    return lines({**settings, **more})


def lines(settings: dict[str, str]) -> bytes:
    """The text of a VMX; values as they are written."""
    return "".join(f'{key} = "{value}"\n' for key, value in settings.items()).encode()


def build_machine(folder: Path, raw: Path, subformat: str) -> Path:
    """A folder with a VMX and the disk `raw`, as qemu-img writes a VMDK of `subformat`; returns it."""
    folder.mkdir()
    convert(raw, folder / "disk.vmdk", "vmdk", f"subformat={subformat}")
    (folder / "old machine.vmx").write_bytes(vmx("disk.vmdk"))
    return folder


def with_vmware(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let libvirt find VMware's programs, which are two lines of shell here: the reader behind them is its own."""
    programs = folder / "vmware-programs"
    programs.mkdir()
    for name, line in _PROGRAMS.items():
        (programs / name).write_text(f"#!/bin/sh\n{line}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")

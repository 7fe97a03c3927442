"""What QEMU can do here, asked of QEMU."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from virt_ova.errors import ToolError
from virt_ova.target import emulator

QEMU = "qemu-system-x86_64"

needs_qemu = pytest.mark.skipif(shutil.which(QEMU) is None, reason="QEMU is not installed")


@needs_qemu
def test_emulation_runs_a_boot_sector() -> None:
    assert emulator.accelerator_runs(QEMU, "tcg")


@needs_qemu
def test_an_accelerator_that_is_not_there_does_not_run() -> None:
    assert not emulator.accelerator_runs(QEMU, "xen")


def test_no_emulator_runs_nothing() -> None:
    assert not emulator.accelerator_runs("no-such-emulator", "tcg")


def test_an_emulator_that_never_ends_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulator, "_TIMEOUT_SECONDS", 0.3)
    slow = tmp_path / "qemu"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o700)
    assert not emulator.accelerator_runs(str(slow), "kvm")


def test_without_the_device_kvm_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulator, "DEVICE", tmp_path / "kvm")
    assert not emulator.kvm_runs(QEMU)


@needs_qemu
def test_devices_are_named() -> None:
    devices = emulator.device_names(QEMU)
    assert {"e1000", "pvscsi", "VGA"} <= devices
    assert "buslogic" not in devices


def test_devices_of_no_emulator_are_an_error() -> None:
    with pytest.raises(ToolError, match=r"^the program no-such-emulator is not installed$") as caught:
        emulator.device_names("no-such-emulator")
    assert caught.value.hint == "Install it: apt install qemu-system-x86"

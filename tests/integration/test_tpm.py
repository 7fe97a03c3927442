"""A guest in a folder has a TPM, and finds it again at its next start."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.build.appliance import ApplianceSpec, DiskSpec, build_appliance
from tests.build.command import json_of
from tests.build.command import virt_ova as run_virt_ova
from tests.build.swtpm import assert_tpm_ends, tpm_processes
from virt_ova.target.directory.domain import stop

FIRST, SECOND = "tpm starts: 00000001;", "tpm starts: 00000002;"
"""What the guest reads out of its TPM, which counts them where it keeps its secrets."""


def seen_at_first_start(spec: ApplianceSpec, scratch: Path) -> str:
    """The console of the appliance, installed as ``m/vm`` and watched in the background."""
    ova = build_appliance(scratch / "appliance.ova", spec)
    words = ("install", ova, "-c", f"dir:{scratch}/m", "--name", "vm", "--virt-type", "qemu", "--json")
    folder = scratch / "m" / "vm"
    try:
        done = run_virt_ova(*words, "--wait-boot", "110", path=os.environ["PATH"])
        assert done.returncode == 0, done.stderr
        assert json_of(done)["booted"]["state"] == "login"
        assert len(tpm_processes(folder)) == 1
        return (folder / "serial.log").read_text(errors="replace")
    finally:
        stop(folder)
        assert_tpm_ends(folder)


def test_a_bios_guest_finds_its_tpm_again(tmp_path: Path) -> None:
    assert FIRST in seen_at_first_start(ApplianceSpec(tpm=True), tmp_path)
    folder = tmp_path / "m" / "vm"
    with subprocess.Popen([folder / "run"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as running:
        assert running.stdout is not None
        told = next(line for line in running.stdout if "tpm starts: " in line)
        running.terminate()
    assert SECOND in told
    assert_tpm_ends(folder)


def test_an_efi_guest_has_a_tpm(tmp_path: Path) -> None:
    spec = ApplianceSpec(disk=DiskSpec(firmware="efi"), memory_mib=512, tpm=True)
    assert FIRST in seen_at_first_start(spec, tmp_path)

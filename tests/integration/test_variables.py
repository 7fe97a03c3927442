"""Real EFI guests whose loader is not at the default place: only what their package's variables say finds it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

from tests.build.appliance import ApplianceSpec, DiskSpec, build_appliance
from tests.build.command import json_of, piped, virt_ova
from tests.build.efivars import FRESH, FRESH_2M, with_boot_entry
from tests.build.small import efi_ova
from virt_ova.plan.efivars import examine
from virt_ova.target.directory.domain import stop

LOADER: Final = r"\EFI\debian\grubx64.efi"
DISK: Final = DiskSpec(firmware="efi", loader="debian/grubx64.efi")
SEARCHED: Final = r"boots what is at \EFI\BOOT\BOOTX64.EFI"


def told(result: dict[str, object]) -> list[str]:
    """Why fresh variables are used."""
    findings = result["findings"]
    assert isinstance(findings, list)
    return [finding["message"] for finding in findings if finding["code"] == "NVRAM_FRESH"]


@pytest.mark.parametrize(("has_variables", "state"), [(True, "login"), (False, "firmware")])
def test_a_boot_entry_of_the_package_is_what_boots(tmp_path: Path, state: str, *, has_variables: bool) -> None:
    menu = with_boot_entry(FRESH.read_bytes(), LOADER, signature=b"\x0a\x70\xa0\x0a", start_mib=1, size_mib=15)
    variables = menu if has_variables else b""
    ova = build_appliance(tmp_path / "a.ova", ApplianceSpec(name="vm", disk=DISK, memory_mib=512, variables=variables))
    words = ("install", ova, "-c", f"dir:{tmp_path}/m", "--virt-type", "qemu", "--wait-boot", "200", "--json")
    try:
        done = virt_ova(*words, path=os.environ["PATH"])
        assert done.returncode == 0, done.stderr
        booted = json_of(done)["booted"]
        assert (booted["state"], booted["disk"]) == (state, "found" if has_variables else "empty"), booted
    finally:
        stop(tmp_path / "m" / "vm")
    names = {path.name for path in (tmp_path / "m" / "vm").glob("*.fd")}
    assert names == {"vm-efi-vars.fd" if has_variables else "efi-vars.fd"}
    if has_variables:  # the firmware wrote to them, and they are still what it reads
        left = (tmp_path / "m" / "vm" / "vm-efi-vars.fd").read_bytes()
        assert left != menu
        assert examine(left).boot_entries > 1


def test_a_program_reads_what_became_of_them(tmp_path: Path) -> None:
    ova = efi_ova(tmp_path / "a.ova", FRESH.read_bytes())
    result = json_of(virt_ova("install", ova, "-c", f"dir:{tmp_path}/m", "--json"))
    assert told(result) == []
    assert [volume["name"] for volume in result["volumes"]] == ["vm/vm-disk1.qcow2", "vm/vm-efi-vars.fd"]
    assert (tmp_path / "m/vm/vm-efi-vars.fd").read_bytes() == FRESH.read_bytes()
    assert f"<nvram>{tmp_path}/m/vm/vm-efi-vars.fd</nvram>" in (tmp_path / "m/vm/domain.xml").read_text()
    assert "unit=1,file=vm-efi-vars.fd" in (tmp_path / "m/vm/run").read_text()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (FRESH_2M, "they have 131072 bytes, and the host's firmware keeps 540672"),
        (b"MRVN\1\0\0\0".ljust(270840, b"\xff"), "they are in VMware's format, which no other firmware reads"),
        (bytes((1 << 20) + 1), "their file has 1048577 bytes, expected 1048576 at most"),
    ],
)
def test_what_cannot_be_used_is_told_and_left(tmp_path: Path, content: Path | bytes, why: str) -> None:
    data = content.read_bytes() if isinstance(content, Path) else content
    result = json_of(virt_ova("install", efi_ova(tmp_path / "a.ova", data), "-c", f"dir:{tmp_path}/m", "--json"))
    (message,) = told(result)
    assert message.startswith(f"the package's EFI variables are not taken over: {why}; ")
    assert message.endswith(SEARCHED)
    assert (tmp_path / "m/vm/efi-vars.fd").read_bytes() == FRESH.read_bytes()


def test_a_changed_file_of_variables_is_refused(tmp_path: Path) -> None:
    ova = efi_ova(tmp_path / "a.ova", FRESH.read_bytes())
    data = bytearray(ova.read_bytes())
    data[data.index(FRESH.read_bytes()) + 1000] ^= 1
    ova.write_bytes(data)
    done = virt_ova("install", ova, "-c", f"dir:{tmp_path}/m", "--json")
    assert (done.returncode, json_of(done)["error"]["code"]) == (1, "E_DIGEST")
    assert not (tmp_path / "m").exists()


def test_out_of_a_pipe_they_cannot_be_looked_at_in_time(tmp_path: Path) -> None:
    ova = efi_ova(tmp_path / "a.ova", FRESH.read_bytes())
    (message,) = told(json_of(piped(ova.read_bytes(), "install", "-", "-c", f"dir:{tmp_path}/m", "--json")))
    assert "not taken over: the file 'a.nvram' has not come yet, and will come once only; " in message

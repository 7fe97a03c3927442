"""Firmware descriptors, as QEMU's packages install them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from virt_ova.target.firmware import find_firmware

Add = Callable[..., Path]


@pytest.fixture
def add(tmp_path: Path) -> Add:
    """Installs a firmware and its descriptor."""

    def install(name: str, *features: str, folder: str = "usr", **changes: Any) -> Path:  # noqa: ANN401 - JSON
        images = [tmp_path / f"{name}.{kind}" for kind in ("code", "vars")]
        for image in images:
            image.write_bytes(b"firmware")
        code, variables = ({"filename": str(image), "format": "raw"} for image in images)
        document = {
            "interface-types": ["uefi"],
            "mapping": {"device": "flash", "executable": code, "nvram-template": variables},
            "targets": [{"architecture": "x86_64", "machines": ["pc-q35-*", "pc-i440fx-*"]}],
            "features": list(features),
        } | changes
        path = tmp_path / folder / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(document))
        return path

    return install


def chosen(tmp_path: Path, chipset: str = "q35", *, secure_boot: bool = False) -> str:
    found = find_firmware(chipset, secure_boot=secure_boot, folders=(tmp_path / "usr", tmp_path / "etc"))
    return found.code.stem if found else ""


def test_none_is_installed(tmp_path: Path) -> None:
    assert chosen(tmp_path) == ""


def test_secure_boot_is_what_was_asked_for(tmp_path: Path, add: Add) -> None:
    add("40-enrolled", "secure-boot", "enrolled-keys", "requires-smm")
    add("50-capable", "secure-boot", "requires-smm")
    assert chosen(tmp_path) == ""
    assert chosen(tmp_path, secure_boot=True) == "40-enrolled"
    add("60-plain")
    assert chosen(tmp_path) == "60-plain"
    assert chosen(tmp_path, secure_boot=True) == "40-enrolled"


def test_keys_that_are_not_enrolled_enforce_nothing(tmp_path: Path, add: Add) -> None:
    add("50-capable", "secure-boot")
    assert chosen(tmp_path, secure_boot=True) == ""


def test_the_chipset_must_suit(tmp_path: Path, add: Add) -> None:
    add("60-plain", targets=[{"architecture": "x86_64", "machines": ["pc-q35-*"]}])
    assert chosen(tmp_path, "q35") == "60-plain"
    assert chosen(tmp_path, "pc") == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"targets": [{"architecture": "aarch64", "machines": ["pc-q35-*"]}]},
        {"interface-types": ["bios"]},
        {"mapping": {"device": "memory", "filename": "/x"}},
        {"mapping": {"device": "flash"}},
        {"mapping": None},
        {"targets": []},
    ],
)
def test_other_firmware_is_passed_over(tmp_path: Path, add: Add, changes: dict[str, Any]) -> None:
    add("10-other", **changes)
    add("60-plain")
    assert chosen(tmp_path) == "60-plain"


def test_what_is_described_but_missing_or_damaged_is_passed_over(tmp_path: Path, add: Add) -> None:
    add("10-gone")
    (tmp_path / "10-gone.vars").unlink()
    add("20-broken").write_text("{")
    add("60-plain")
    assert chosen(tmp_path) == "60-plain"


def test_the_administrator_comes_last_and_wins(tmp_path: Path, add: Add) -> None:
    add("60-plain")
    add("60-plain", folder="etc", features=["secure-boot"])
    assert chosen(tmp_path) == ""
    add("50-own", folder="etc")
    add("70-other")
    assert chosen(tmp_path) == "50-own"

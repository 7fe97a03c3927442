"""What cannot be tried is refused before anything is written. The tries themselves are in ``tests/integration``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.build.small import small_ova
from virt_ova.errors import PlanError, TargetError
from virt_ova.plan.options import InstallOptions
from virt_ova.stories.fallback import check_fallback
from virt_ova.stories.install import install
from virt_ova.target.base import Trier
from virt_ova.target.importing import Importer
from virt_ova.target.registry import open_target


def test_a_try_needs_an_end(tmp_path: Path) -> None:
    ova = small_ova(tmp_path / "a.ova")
    with pytest.raises(
        PlanError, match=r"^boot_fallback needs wait_boot_seconds, which says how long a try may take$"
    ) as e:
        install(ova, f"dir:{tmp_path}/m", options=InstallOptions(boot_fallback=True))
    assert e.value.code == "E_OPTION"
    assert not (tmp_path / "m").exists()


def test_a_target_must_be_able_to(tmp_path: Path) -> None:
    target = open_target(f"dir:{tmp_path}")
    assert not isinstance(target, Importer)
    assert isinstance(target, Trier)
    check_fallback(target, InstallOptions(boot_fallback=True, wait_boot_seconds=1))

    class Plain:
        uri = "shelf:x"

    with pytest.raises(
        TargetError,
        match=r"^shelf:x cannot try a machine without changing its disks, expected a folder or libvirt$",
    ) as caught:
        check_fallback(Plain(), InstallOptions(boot_fallback=True, wait_boot_seconds=1))  # type: ignore[arg-type]
    assert (caught.value.code, caught.value.hint) == ("E_NOT_SUPPORTED", "Leave --boot-fallback out.")
    check_fallback(Plain(), InstallOptions())  # type: ignore[arg-type]

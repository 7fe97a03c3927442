"""What cannot be looked into or converted is refused before anything is written; what is kept, and until when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.build import plans
from virt_ova.disk.sink import FileSink
from virt_ova.errors import PlanError, TargetError
from virt_ova.plan.options import InstallOptions
from virt_ova.plan.plan import DiskMode, InstallPlan
from virt_ova.progress import SilentMonitor
from virt_ova.stories.conversion import Conversion, Copy, check_conversion, let_go, with_room_for_copies
from virt_ova.stories.journal import Journal
from virt_ova.stories.tailoring import check_inspection
from virt_ova.target.base import BootReport
from virt_ova.target.importing import Importer
from virt_ova.target.registry import open_target

CONVERT = InstallOptions(convert=True)


class Shelf:
    """A target that keeps no files here."""

    uri = "shelf:x"
    keeps_files_here = False


class Image:
    """A volume that counts how often it was discarded."""

    name, path, pool = "box/box-disk1.before-conversion.qcow2", "/m/box/a b.qcow2", ""

    def __init__(self, *, stays: bool = False) -> None:
        self.stays, self.discarded = stays, 0
        self.sink = FileSink

    def discard(self) -> None:
        self.discarded += 1
        if self.stays:
            raise TargetError("it stays", code="E_IO")


def plan(**transfer: Any) -> InstallPlan:  # noqa: ANN401 - fields of a transfer
    return plans.plan(plans.machine(), replace(plans.transfer(), **transfer))


def test_images_must_be_files_here() -> None:
    for target in (Shelf(), SimpleNamespace(uri="shelf:x")):
        with pytest.raises(TargetError) as caught:
            check_inspection(target, InstallOptions(inspect_guest=True))  # type: ignore[arg-type]
        message = "--inspect-guest needs images that are files on this host, and those on shelf:x are not"
        assert (caught.value.code, str(caught.value)) == ("E_NOT_SUPPORTED", message)
        assert caught.value.hint == "Leave --inspect-guest out, or install on the host itself."
        with pytest.raises(TargetError, match=r"^--convert needs images that are files on this host"):
            check_conversion(target, plan(), CONVERT)  # type: ignore[arg-type]
        check_inspection(target, InstallOptions())  # type: ignore[arg-type]
        check_conversion(target, plan(), InstallOptions())  # type: ignore[arg-type]


def test_what_belongs_to_others_is_not_converted(tmp_path: Path) -> None:
    target = open_target(f"dir:{tmp_path}")
    assert not isinstance(target, Importer)
    check_conversion(target, plan(), CONVERT)
    with pytest.raises(PlanError) as caught:
        check_conversion(target, plan(mode=DiskMode.LINK), CONVERT)
    message = "--convert changes disks, and 'box-disk1.raw' would be linked to the package"
    assert (caught.value.code, str(caught.value)) == ("E_OPTION", message)
    box = plans.machine()
    shared = replace(plan(), machines=(replace(box, drives=tuple(replace(each, shared=True) for each in box.drives)),))
    with pytest.raises(PlanError) as caught:
        check_conversion(target, shared, CONVERT)
    message = "--convert changes disks, and 'box' shares one with other machines"
    assert (caught.value.code, str(caught.value)) == ("E_OPTION", message)


def test_a_copy_needs_room() -> None:
    sizes = {"disk1": 100, "file/cd": 10}
    assert with_room_for_copies(plan(), sizes, CONVERT) == {"disk1": 200, "file/cd": 10}
    assert with_room_for_copies(plan(), sizes, InstallOptions()) == sizes


def let_go_after(image: Image, boots: Sequence[BootReport], uri: str = "dir:/m") -> tuple[Conversion, str]:
    target: Any = SimpleNamespace(uri=uri)
    journal = Journal(SilentMonitor())
    volume: Any = journal.make("volume", lambda: image)
    copy = Copy(machine="box", transfer="disk1", volume=volume)
    kept = let_go([copy], boots, target=target, journal=journal)
    (finding,) = kept.findings
    assert finding.code == "CONVERT_COPY"
    return kept, finding.message


@pytest.mark.parametrize("state", ["login", "agent", "network"])
def test_the_copy_goes_when_the_machine_came_up(state: str) -> None:
    image = Image()
    kept, message = let_go_after(image, [BootReport(machine="box", state=state, seconds=1, evidence="")])
    assert (kept.copies, image.discarded) == ((), 1)
    assert message == f"'{image.name}', the image before it was converted, was removed: 'box' came to {state}"


@pytest.mark.parametrize(
    "boots", [[], [("box", "kernel")], [("box", "panic")], [("other", "login"), ("box", "bootloader")]]
)
def test_the_copy_stays_until_the_machine_came_up(boots: list[tuple[str, str]]) -> None:
    image = Image()
    reports = [BootReport(machine=machine, state=state, seconds=1, evidence="") for machine, state in boots]
    kept, message = let_go_after(image, reports)
    assert (len(kept.copies), image.discarded) == (1, 0)
    known = f"'{image.name}' is the image before it was converted; when the machine has proved itself"
    assert message == f"{known}: rm '/m/box/a b.qcow2'"
    image.pool = "my pool"
    _, message = let_go_after(image, reports, "qemu:///system")
    assert message.endswith(f": virsh -c qemu:///system vol-delete --pool 'my pool' {image.name}")


def test_a_copy_that_does_not_go_is_no_failure() -> None:
    image = Image(stays=True)
    kept, message = let_go_after(image, [BootReport(machine="box", state="login", seconds=1, evidence="")])
    assert (len(kept.copies), image.discarded) == (1, 1)
    assert message.endswith("when the machine has proved itself: rm '/m/box/a b.qcow2'")

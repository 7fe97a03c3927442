"""Disks that machines of a vApp share (``ovf:shared``), in a folder: both machines run at once."""

from __future__ import annotations

from pathlib import Path

import pytest

import virt_ova
from tests.build.command import json_of
from tests.build.command import virt_ova as run_virt_ova
from tests.build.disks import guest_bytes
from tests.build.ova import build_ova, manifest_for, with_manifest
from tests.build.siblings import sibling_members
from tests.build.small import listing, small_disk
from virt_ova.target.directory.domain import running_pid, stop

OWN = ["", "/domain.xml", "/run"]


def test_machines_that_share_a_disk_run_at_once(tmp_path: Path) -> None:
    package = build_ova(tmp_path / "a.ova", with_manifest(sibling_members()))
    options = virt_ova.InstallOptions(start=True, virt_type="qemu")
    result = virt_ova.install(package, f"dir:{tmp_path}/m", options=options)
    folders = [tmp_path / "m" / domain.name for domain in result.domains]
    try:
        assert all(running_pid(folder) for folder in folders)
    finally:
        for folder in folders:
            stop(folder)
    assert [volume.name for volume in result.volumes] == [
        "red/red-disk1.qcow2", "blue/blue-disk1.qcow2", "red/red-disk2.raw"
    ]  # fmt: skip
    assert (tmp_path / "m/red/red-disk2.raw").read_bytes() == small_disk(2)
    assert guest_bytes(tmp_path / "m/blue/blue-disk1.qcow2") == small_disk(1)
    assert "file=../red/red-disk2.raw" in (tmp_path / "m/blue/run").read_text()
    assert "file=red-disk2.raw" in (tmp_path / "m/red/run").read_text()
    assert f'file="{tmp_path}/m/red/red-disk2.raw"' in (tmp_path / "m/blue/domain.xml").read_text()


def test_a_plan_says_what_is_shared(tmp_path: Path) -> None:
    package = build_ova(tmp_path / "a.ova", with_manifest(sibling_members()))
    target = f"dir:{tmp_path}/m"
    done = run_virt_ova("plan", package, "-c", target, "--disk-mode", "link")
    plan = json_of(done)
    assert [each["message"] for each in plan["findings"] if each["code"] == "DISK_SHARED"] == [
        "disk 'disk2' is one raw image, which these machines share: 'red', 'blue'"
    ]
    assert [(each["id"], each["image_format"], each["mode"]) for each in plan["transfers"]] == [
        ("disk1", "qcow2", "link"), ("disk1#2", "qcow2", "link"), ("disk2", "raw", "expand")
    ]  # fmt: skip
    drives = [[(drive["transfer"], drive["shared"]) for drive in machine["drives"]] for machine in plan["machines"]]
    assert drives == [[("disk1", False), ("disk2", True)], [("disk1#2", False), ("disk2", True)]]
    (tmp_path / "plan.json").write_text(done.stdout)
    result = json_of(run_virt_ova("install", package, "-c", target, "--plan", tmp_path / "plan.json", "--json"))
    assert [volume["mode"] for volume in result["volumes"]] == ["link", "link", "expand"]


@pytest.mark.parametrize("shared", [False, True])
def test_what_is_not_shared_is_an_image_for_each(tmp_path: Path, *, shared: bool) -> None:
    """A disk that is not marked, and one that is marked and has one machine alone."""
    names = ("red",) if shared else ("red", "blue")
    package = build_ova(tmp_path / "a.ova", with_manifest(sibling_members(names, shared=shared)))
    result = virt_ova.install(package, f"dir:{tmp_path}/m")
    assert listing(tmp_path / "m") == sorted(
        name + rest for name in names for rest in (*OWN, f"/{name}-disk1.qcow2", f"/{name}-disk2.qcow2")
    )
    told = [finding.message for finding in result.findings if finding.code == "DISK_SHARED"]
    assert told == (["disk 'disk2' is meant to be shared, but no two machines have it"] if shared else [])


def test_a_failure_takes_a_shared_image_back(tmp_path: Path) -> None:
    members = sibling_members()
    damaged = (members[2][0], members[2][1].replace(b"# Disk Descr", b"# disk Descr"))
    package = build_ova(tmp_path / "a.ova", [members[0], ("a.mf", manifest_for(members)), members[1], damaged])
    with pytest.raises(virt_ova.DigestError, match=r"the SHA256 of 'a2\.vmdk' is"):
        virt_ova.install(package, f"dir:{tmp_path}/m")
    assert listing(tmp_path) == ["a.ova"]

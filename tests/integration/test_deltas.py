"""Disks of differences (``ovf:parentRef``), installed and converted; the model of the builder is the oracle."""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path

import pytest

import virt_ova
from tests.build.command import command, environment, error_lines, json_of
from tests.build.command import virt_ova as run_virt_ova
from tests.build.disks import guest_bytes, qemu_img
from tests.build.layers import Layer, delta_members
from tests.build.ova import build_folder, build_ova, manifest_for, with_manifest
from tests.build.small import edited, listing
from tests.build.webserver import serve
from virt_ova.errors import PlanError, VirtOvaError
from virt_ova.plan.codec import from_json, to_json
from virt_ova.source.pipe import SAVE_FIRST

BASE = Layer(grains=("data", "data", "none") * 8, seed=1)
MIDDLE = Layer(grains=("none", "zeroed", "data", "data") * 8, seed=2, compressed=False)
TOP = Layer(grains=("data", *["none"] * 30, "zeros"), seed=3)
DISK = TOP.over(MIDDLE.over(BASE.over(b"")))
EXPAND = "Use --disk-mode expand."


def ova(folder: Path, *stack: Layer, items: tuple[int, ...] = (1,), hint: str = "") -> Path:
    """A package of `stack`, or of the three layers above."""
    return build_ova(
        folder / "a.ova", with_manifest(delta_members(*(stack or (TOP, MIDDLE, BASE)), items=items, hint=hint))
    )


def refused(*words: str | Path) -> tuple[str, str, str]:
    """Code, message and hint of the error with which the command line ends."""
    done = run_virt_ova(*words, "--json")
    assert done.returncode == 1, done.stdout
    error = json.loads(done.stdout)["error"]
    return error["code"], error["message"], error["hint"]


def test_a_chain_becomes_one_image(tmp_path: Path) -> None:
    """The parents have no drive of their own, and what the images say of them is passed over."""
    done = run_virt_ova("install", ova(tmp_path, hint="/etc/passwd"), "-c", f"dir:{tmp_path}/m", "--json")
    document = json_of(done)
    assert listing(tmp_path / "m") == ["vm", "vm/domain.xml", "vm/run", "vm/vm-disk1.qcow2"]
    image = tmp_path / "m/vm/vm-disk1.qcow2"
    assert guest_bytes(image) == DISK
    qemu_img("check", "-f", "qcow2", image)
    assert "backing" not in qemu_img("info", "-f", "qcow2", image)
    assert document["trust"] == "digests"
    assert {finding["code"] for finding in document["findings"]}.isdisjoint({"DISK_UNUSED", "DISK_EXPANDED"})
    assert document["volumes"][0]["capacity_bytes"] == TOP.capacity


def test_every_layer_can_be_converted_and_is_listed_with_its_parent(tmp_path: Path) -> None:
    package = ova(tmp_path)
    disks = json_of(run_virt_ova("disks", package, "--json"))["disks"]
    assert [(disk["id"], disk["parent"]) for disk in disks] == [("disk1", "disk2"), ("disk2", "disk3"), ("disk3", "")]
    expected = {"disk1": DISK, "disk2": MIDDLE.over(BASE.over(b"")), "disk3": BASE.over(b"")}
    for disk, content in expected.items():
        result = virt_ova.convert(package, tmp_path / disk, disk=disk, image_format=virt_ova.ImageFormat.RAW)
        assert (result.trust, result.capacity_bytes) == (virt_ova.Trust.DIGESTS, len(content))
        assert (tmp_path / disk).read_bytes() == content


def test_a_parent_may_be_a_drive_too(tmp_path: Path) -> None:
    virt_ova.install(ova(tmp_path, MIDDLE, BASE, items=(1, 2)), f"dir:{tmp_path}/m")
    assert guest_bytes(tmp_path / "m/vm/vm-disk1.qcow2") == MIDDLE.over(BASE.over(b""))
    assert guest_bytes(tmp_path / "m/vm/vm-disk2.qcow2") == BASE.over(b"")


def test_parents_of_other_formats_and_in_chunks(tmp_path: Path) -> None:
    """A manifest lists every chunk; a chain through chunks is verified piece by piece."""
    whole = Layer(grains=("data", "none") * 16, seed=4, whole=("qcow2", "cluster_size=4k"))
    members = delta_members(TOP, whole)
    name, data = members[2]
    size = len(data) // 2 + 1
    chunks = [(f"{name}.{number:09}", data[number * size : (number + 1) * size]) for number in range(2)]
    members = edited([members[0], members[1], *chunks], f'"{name}"', f'"{name}" ovf:chunkSize="{size}"')
    build_folder(tmp_path / "p", with_manifest(members))
    result = virt_ova.convert(tmp_path / "p", tmp_path / "out", disk="disk1")
    assert (result.trust, guest_bytes(tmp_path / "out")) == (virt_ova.Trust.DIGESTS, TOP.over(whole.over(b"")))
    bad = [*members[:3], (chunks[1][0], chunks[1][1][:-1] + b"?")]
    build_folder(tmp_path / "q", [members[0], ("a.mf", manifest_for(members)), *bad[1:]])
    with pytest.raises(VirtOvaError, match=f"the SHA256 of '{name}.000000001' is") as caught:
        virt_ova.convert(tmp_path / "q", tmp_path / "bad", disk="disk1")
    assert caught.value.code == "E_DIGEST"
    assert not (tmp_path / "bad").exists()


def test_from_a_web_server(tmp_path: Path) -> None:
    with serve({"/a.ova": ova(tmp_path)}) as server:
        result = virt_ova.convert(server.url("/a.ova"), tmp_path / "out", disk="disk1")
    assert (result.trust, guest_bytes(tmp_path / "out")) == (virt_ova.Trust.DIGESTS, DISK)


@pytest.mark.parametrize("changed", [1, 2, 3])
def test_every_byte_of_every_layer_is_verified(tmp_path: Path, changed: int) -> None:
    """A change in the text of a layer's descriptor, which changes nothing of the disk."""
    members = delta_members(TOP, MIDDLE, BASE)
    name, data = members[changed]
    damaged = [*members[:changed], (name, data.replace(b"# Extent desc", b"# extent desc")), *members[changed + 1 :]]
    package = build_ova(tmp_path / "a.ova", [members[0], ("a.mf", manifest_for(members)), *damaged[1:]])
    code, message, _ = refused("install", package, "-c", f"dir:{tmp_path}/m")
    assert (code, message.split(" is ")[0]) == ("E_DIGEST", f"the SHA256 of '{name}'")
    assert listing(tmp_path) == ["a.ova"]
    unverified = virt_ova.convert(package, tmp_path / "out", disk="disk1", verify=False)
    assert (unverified.trust, guest_bytes(tmp_path / "out")) == (virt_ova.Trust.UNVERIFIED, DISK)


def test_other_modes(tmp_path: Path) -> None:
    package = ova(tmp_path)
    plan = json_of(run_virt_ova("plan", package, "-c", f"dir:{tmp_path}", "--disk-mode", "transplant"))
    assert [each["message"] for each in plan["findings"] if each["code"] == "DISK_MODE"] == [
        "disk 'disk1' is the difference to another disk, which cannot be transplanted: it is expanded"
    ]
    (transfer,) = plan["transfers"]
    assert (transfer["member"], transfer["parents"]) == ("a1.vmdk", ["a2.vmdk", "a3.vmdk"])
    words = ("convert", package, tmp_path / "out", "--disk", "disk1", "--disk-mode")
    converted = json_of(run_virt_ova(*words, "transplant", "--json"))
    told = [each["message"] for each in converted["findings"] if each["code"] == "DISK_EXPANDED"]
    assert told == ["expanded instead of transplanted: it holds the difference to another disk"]
    assert converted["mode"] == "expand"
    message = "a1.vmdk: the disk cannot be linked: it holds the difference to another disk"
    assert refused("install", package, "-c", f"dir:{tmp_path}/m", "--disk-mode", "link") == (
        "E_DISK_LINK",
        message,
        EXPAND,
    )
    assert listing(tmp_path) == ["a.ova", "out"]


def test_what_cannot_be_flattened_is_refused(tmp_path: Path) -> None:
    members = delta_members(TOP, BASE)
    zipped = edited(
        [*members[:2], ("a2.vmdk", gzip.compress(members[2][1]))], '"a2.vmdk"', '"a2.vmdk" ovf:compression="gzip"'
    )
    target = ("-c", f"dir:{tmp_path}/m")
    code, message, hint = refused("install", build_ova(tmp_path / "gz.ova", with_manifest(zipped)), *target)
    assert (code, hint) == ("E_NOT_SUPPORTED", "Decompress the file, and correct its File in References.")
    assert message == (
        "a2.vmdk: its file is gzip'd as a whole, and disks that lie on each other must be read in places, "
        "expected it without compression"
    )
    blank = edited(members, 'ovf:diskId="disk2" ovf:fileRef="file2"', 'ovf:diskId="disk2"')
    code, message, hint = refused("plan", build_ova(tmp_path / "blank.ova", blank), *target)
    assert (code, hint) == ("E_NOT_SUPPORTED", "Merge the disks where they were made, and export the machine again.")
    assert message.endswith(
        "is the disk 'disk1', which holds the difference to another one, expected a file for each of the two"
    )
    bare = edited(members, 'ovf:diskId="disk1" ovf:fileRef="file1"', 'ovf:diskId="disk1"')
    for package in (tmp_path / "blank.ova", build_ova(tmp_path / "bare.ova", bare)):
        told = "the disk 'disk1' holds the difference to another one, expected a file for each of the two"
        error = ("E_NOT_SUPPORTED", f"{package.name}: {told}", hint)
        assert refused("convert", package, tmp_path / "out", "--disk", "disk1") == error
    gone = build_ova(tmp_path / "gone.ova", members[:2])
    assert refused("install", gone, *target)[:2] == ("E_PKG_FILE", "the file 'a2.vmdk' is not in the package")
    larger = edited(members, f'"{TOP.capacity}"', f'"{TOP.capacity * 4}"')
    assert refused("install", build_ova(tmp_path / "larger.ova", larger), *target)[0] == "E_DISK_CAPACITY"
    assert not (tmp_path / "m").exists()


def test_from_a_pipe_it_is_refused(tmp_path: Path) -> None:
    package = ova(tmp_path, TOP, BASE)
    words = command("install", "-", "-c", f"dir:{tmp_path}/m")
    with subprocess.Popen(["cat", package], stdout=subprocess.PIPE) as cat:
        done = subprocess.run(words, stdin=cat.stdout, capture_output=True, text=True, check=False, env=environment())
    message = "the file 'a1.vmdk' holds the difference to 'a2.vmdk', expected a whole disk in such a package"
    assert done.stderr.endswith(error_lines("E_PIPE_ORDER", message, SAVE_FIRST))
    assert listing(tmp_path) == ["a.ova"]


def test_an_undeclared_parent_is_refused_and_a_declared_one_in_a_plan_too(tmp_path: Path) -> None:
    members = edited(delta_members(TOP, BASE, hint="a2.vmdk"), ' ovf:parentRef="disk2"', "")
    package = build_ova(tmp_path / "a.ova", with_manifest(members))
    with pytest.raises(VirtOvaError, match="sets parentFileNameHint") as caught:
        virt_ova.install(package, f"dir:{tmp_path}/m")
    assert caught.value.code == "E_DISK_PARENT"
    with virt_ova.open_package(package) as opened:
        text = to_json(virt_ova.plan(opened))
    with pytest.raises(PlanError) as refusal:
        from_json(text.replace('"parents": []', '"parents": [""]'))
    assert refusal.value.message == "transfer 'disk1' is a difference, expected it and its parents to have members"


@pytest.mark.parametrize("parents", [[], ["a2.vmdk"], ["a3.vmdk", "a2.vmdk"], ["a2.vmdk", "a2.vmdk", "a3.vmdk"]])
def test_a_plan_does_not_say_what_lies_on_what(tmp_path: Path, parents: list[str]) -> None:
    package = ova(tmp_path)
    with virt_ova.open_package(package) as opened:
        document = json.loads(to_json(virt_ova.plan(opened)))
    document["transfers"][0]["parents"] = parents
    (tmp_path / "plan.json").write_text(json.dumps(document))
    found = ", ".join(f"'{name}'" for name in parents) or "none"
    assert refused("install", package, "-c", f"dir:{tmp_path}/m", "--plan", tmp_path / "plan.json") == (
        "E_PLAN_SOURCE",
        (
            f"the plan says that 'a1.vmdk' lies on these files: {found}, "
            "expected those of the package: 'a2.vmdk', 'a3.vmdk'"
        ),
        "",
    )

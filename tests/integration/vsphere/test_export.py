"""Exports from a simulated ESXi and vCenter: a machine that was installed comes back, byte for byte."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

import virt_ova
from tests.build.command import command, environment, error_lines, json_of, stopped
from tests.build.command import virt_ova as run
from tests.build.disks import KIB
from tests.build.killed import Executioner
from tests.build.ova import build_ova, with_manifest
from tests.build.peak import peak_bytes
from tests.build.small import CAPACITY, listing, small_members, small_ova, small_vmdk
from tests.build.vsphere import VSphere, started, thumbprint
from tests.integration.vsphere.conftest import looked_into, machine_of, uploads
from tests.integration.vsphere.test_faults import AGAIN, LEASE, LOOK, SESSION, random_package
from tests.integration.vsphere.test_install import ISO, with_iso
from virt_ova import ExportOptions, InstallOptions, TargetError, VirtOvaError
from virt_ova.package import writer
from virt_ova.progress import SilentMonitor
from virt_ova.stories import export as story
from virt_ova.stories.recover import Outcome
from virt_ova.target.esx import download, lease

JSON_PAGE = Path(__file__).parents[3] / "docs" / "reference" / "json.md"
KILLS = 6
"""How many moments of an export are tried, evenly spread; with ``--long`` all."""

BEFORE_THE_JOURNAL_GOES = 9
"""So many moments before the end, the package has its name, and the journal says so."""

WEB = InstallOptions(name="web")
REMOVE = "Remove the device that it names, or look at the events of the host or vCenter."
UNCHANGED = "The machine was changed meanwhile: export it again, and let nobody change it."
ONCE_MORE = "Export the machine again; if it fails in the same place, look at the events of the host or vCenter."


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transfer that broke off is tried again at once."""
    monkeypatch.setattr(story, "PAUSE_SECONDS", 0.0)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where the package goes: into a folder of its own."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "web.ova"


def members(package: Path) -> dict[str, bytes]:
    """What Python's tarfile finds, in order."""
    with tarfile.open(package, "r:") as tar:
        return {info.name: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]


def child(folder: Any, name: str) -> Any:  # noqa: ANN401 - pyvmomi has no types
    """What has that name in a folder of the simulator."""
    return next(each for each in folder.childEntity if each.name == name)


def failure(vsphere: VSphere, out: Path, options: ExportOptions | None = None) -> VirtOvaError:
    """The error of an export, which left nothing here, and the machine to others."""
    with pytest.raises(VirtOvaError) as caught:
        virt_ova.export(vsphere.uri(), "web", out, options=options)
    assert listing(out.parent) == []
    return caught.value


def test_what_was_installed_comes_back(tmp_path: Path, vsphere: VSphere, out: Path) -> None:
    virt_ova.install(small_ova(tmp_path / "a.ova", 2), vsphere.uri(), options=WEB)
    result = virt_ova.export(vsphere.uri(), "web", out)
    assert listing(out.parent) == ["web.ova"]
    found = members(out)
    assert list(found) == ["web.ovf", "web.mf", "web-disk1.vmdk", "web-disk2.vmdk"]
    assert [found["web-disk1.vmdk"], found["web-disk2.vmdk"]] == [small_vmdk(1), small_vmdk(2)]
    digests = {name: hashlib.sha256(found[name]).hexdigest() for name in found if name != "web.mf"}
    assert found["web.mf"].decode() == "".join(f"SHA256({name})= {digest}\n" for name, digest in digests.items())
    assert {each.name: each.digests["SHA256"] for each in result.files} == digests
    assert (result.path, result.size_bytes, result.findings) == (out, out.stat().st_size, ())
    assert vsphere.seen()["Completes"] == 2
    with virt_ova.open_package(out) as package:
        assert package.verify().trust == "digests"
        assert package.findings == ()
        assert [file.size_bytes for file in package.envelope.files] == [len(small_vmdk())] * 2
        assert [(each.id, each.file_name, each.file_size, each.capacity_bytes) for each in package.disks] == [
            (each.id, each.file_name, each.file_size, each.capacity_bytes) for each in result.disks
        ]
    listed = subprocess.run(["tar", "-tf", out], check=True, capture_output=True, text=True)
    assert (listed.stdout.split(), listed.stderr) == (list(found), "")


def test_what_came_back_can_be_installed_again(tmp_path: Path, vsphere: VSphere, out: Path) -> None:
    virt_ova.install(small_ova(tmp_path / "a.ova", 2), vsphere.uri(), options=WEB)
    virt_ova.export(vsphere.uri(), "web", out)
    vsphere.set_faults()
    virt_ova.install(out, vsphere.uri(), options=InstallOptions(name="web2"))
    assert uploads(vsphere) == [("POST", small_vmdk(1)), ("POST", small_vmdk(2))]
    first, second = (machine_of(vsphere, name)[0] for name in ("web", "web2"))
    assert (first.hardware.numCPU, first.hardware.memoryMB) == (second.hardware.numCPU, second.hardware.memoryMB)
    assert (first.guestId, first.version) == (second.guestId, second.version)
    assert [type(each) for each in first.hardware.device] == [type(each) for each in second.hardware.device]


@pytest.mark.parametrize("images", [True, False])
def test_a_cd_comes_along_or_not(tmp_path: Path, esx: VSphere, out: Path, *, images: bool) -> None:
    package = build_ova(tmp_path / "a.ova", with_manifest(with_iso(small_members())))
    virt_ova.install(package, esx.uri(), options=WEB)
    virt_ova.export(esx.uri(), "web", out, options=ExportOptions(images=images))
    files = {name: data for name, data in members(out).items() if not name.endswith((".ovf", ".mf"))}
    assert files == {"web-disk1.vmdk": small_vmdk(), **({"web-file1.iso": ISO} if images else {})}
    virt_ova.install(out, esx.uri(), options=InstallOptions(name="web2"))


def test_the_command_line_tells_what_it_did(tmp_path: Path, esx: VSphere, out: Path) -> None:
    virt_ova.install(small_ova(tmp_path / "a.ova"), esx.uri(), options=WEB)
    esx.set_faults(Warning="The device is not exported.\n", Export={"Sizes": True})
    done = run("export", "web", out, "-c", esx.uri(), "--algorithm", "sha1")
    assert done.returncode == 0, done.stderr
    text = members(out)["web.ovf"]
    first, *rest = done.stdout.splitlines()
    assert first.startswith(f"Wrote {out}: machine web, 81.0 KiB, in ")
    assert rest == [
        "  web.ovf         7.5 KiB",
        "  web-disk1.vmdk  70.5 KiB  disk of 4.0 MiB",
        "manifest: SHA1, 2 files",
        f"  warning: esx://root@{esx.address}/: The device is not exported [EXPORT_WARNING]",
    ]
    assert "\nReading web-disk1.vmdk (70.5 KiB)\n" in done.stderr
    assert members(out)["web.mf"].startswith(b"SHA1(web.ovf)= " + hashlib.sha1(text).hexdigest().encode())  # noqa: S324
    document = json_of(run("export", "web", out.with_name("b.ova"), "-c", esx.uri(), "--json"))
    section = JSON_PAGE.read_text().partition("\n## export\n")[2].partition("\n## ")[0]
    assert [key for key in (*document, *document["files"][0], *document["disks"][0]) if f"`{key}`" not in section] == []
    assert document.pop("elapsed_seconds") > 0
    assert document["files"].pop(0)["name"] == "web.ovf"
    digest = hashlib.sha256(small_vmdk()).hexdigest()
    assert document == {
        "machine": "web",
        "path": str(out.with_name("b.ova")),
        "size_bytes": out.stat().st_size,
        "trust": "digests",
        "manifest": {"algorithm": "SHA256", "entries": 2},
        "files": [{"name": "web-disk1.vmdk", "size": len(small_vmdk()), "digest": digest}],
        "disks": [
            {
                "id": "vmdisk0",
                "file_name": "web-disk1.vmdk",
                "file_size": len(small_vmdk()),
                "capacity_bytes": CAPACITY,
            }
        ],
        "findings": [
            {
                "code": "EXPORT_WARNING",
                "severity": "warning",
                "message": "The device is not exported",
                "where": f"esx://root@{esx.address}/",
            }
        ],
    }
    again = run("export", "web", out, "-c", esx.uri())
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == error_lines(
        "E_EXISTS", f"'{out}' exists already", "Choose another name, or remove what is there."
    )
    assert listing(out.parent) == ["b.ova", "web.ova"]


def test_a_machine_that_runs_is_refused(tmp_path: Path, vsphere: VSphere, out: Path) -> None:
    virt_ova.install(small_ova(tmp_path / "a.ova"), vsphere.uri(), options=InstallOptions(name="web", start=True))
    error = failure(vsphere, out)
    assert (error.code, error.message, error.hint) == (
        "E_RUNNING",
        "the machine 'web' is powered on, expected powered off",
        "Shut it down, or clone it and export the clone.",
    )


def test_a_machine_that_is_not_there(vsphere: VSphere, out: Path) -> None:
    error = failure(vsphere, out)
    uri = vsphere.uri().partition("?")[0]
    assert (error.code, error.hint) == ("E_DOMAIN", "Check the name, and the URI's path and folder.")
    assert error.message.startswith(f"'{uri}' has no machine 'web', there is: '")


@pytest.mark.parametrize(
    ("inventory", "names"),
    [("d\u00e4\u200b\n", ("d\u00e4\u200b\n", "d\u00e4\\u200b\\n")), ("a%2fb %25", ("a/b %",))],
    ids=["hidden", "escaped"],
)
def test_a_machine_is_known_by_its_name_and_by_what_is_shown_of_it(
    tmp_path: Path, vcenter: VSphere, inventory: str, names: tuple[str, ...]
) -> None:
    virt_ova.install(small_ova(tmp_path / "a.ova"), vcenter.uri(), options=WEB)
    with looked_into(vcenter) as folder:
        child(folder, "web").Rename_Task(inventory)
    for number, name in enumerate(names):
        virt_ova.export(vcenter.uri(), name, tmp_path / f"{number}.ova")


def test_of_two_machines_with_one_name_the_folder_tells(tmp_path: Path, vcenter: VSphere, out: Path) -> None:
    virt_ova.install(small_ova(tmp_path / "a.ova"), vcenter.uri(), options=WEB)
    with looked_into(vcenter) as folder:
        folder.CreateFolder("Prod")
    inside = f"thumbprint={vcenter.thumbprint}&folder=Prod"
    virt_ova.install(small_ova(tmp_path / "b.ova", 2), vcenter.uri(inside), options=InstallOptions(name="web2"))
    try:
        with looked_into(vcenter) as folder:
            child(child(folder, "Prod"), "web2").Rename_Task("web")
        error = failure(vcenter, out)
        assert (error.code, error.hint) == (
            "E_DOMAIN",
            "Name the folder of the right one: ?folder=PATH behind the URI.",
        )
        assert error.message == f"'{vcenter.uri().partition('?')[0]}' has 2 machines 'web'"
        assert len(virt_ova.export(vcenter.uri(inside), "web", out).disks) == 2
    finally:
        with looked_into(vcenter) as folder:
            child(child(folder, "Prod"), "web").Destroy_Task()
            child(folder, "Prod").Destroy_Task()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("web.ovf", ExportOptions(), "found the output '{}', expected a file whose name ends in .ova"),
        (
            "web.ova",
            ExportOptions(algorithm="MD5"),
            "found the algorithm 'MD5', expected one of SHA256, SHA1, SHA512",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_first(out: Path, name: str, options: ExportOptions, message: str) -> None:
    with pytest.raises(VirtOvaError) as caught:
        virt_ova.export("esx://127.0.0.1:1/", "web", out.with_name(name), options=options)
    assert (caught.value.code, caught.value.message) == ("E_OPTION", message.format(out.with_name(name)))


def test_a_folder_that_is_not_there(out: Path) -> None:
    path = out / "none" / "web.ova"
    with pytest.raises(TargetError) as caught:
        virt_ova.export("esx://127.0.0.1:1/", "web", path)
    assert (caught.value.code, caught.value.message) == (
        "E_IO",
        f"'{path}' could not be made: No such file or directory",
    )


def test_a_disk_that_is_full(tmp_path: Path, esx: VSphere, out: Path) -> None:
    virt_ova.install(random_package(tmp_path, 60), esx.uri(), options=WEB)
    words = ["/usr/bin/prlimit", "--fsize=1000000", *command("export", "web", out, "-c", esx.uri(), "--json")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment())
    assert (done.returncode, json_of(done)["error"]["code"]) == (1, "E_SPACE")
    assert listing(out.parent) == []
    assert esx.seen()["Aborts"] == 1


def test_memory_does_not_depend_on_the_size_of_a_disk(tmp_path: Path, esx: VSphere, out: Path) -> None:
    virt_ova.install(random_package(tmp_path, 600), esx.uri(), options=WEB)
    assert peak_bytes("export", "web", out, "-c", esx.uri()) < 72 << 20
    assert out.stat().st_size > 37 << 20


def test_what_was_cut_begins_again(tmp_path: Path, vsphere: VSphere, out: Path) -> None:
    package = random_package(tmp_path, 60)
    virt_ova.install(package, vsphere.uri(), options=WEB)
    for number, (percent, framing) in enumerate([(0, ""), (50, ""), (100, ""), (50, "length")]):
        vsphere.set_faults(Action="cut", At=percent, Export={"Cuts": 2, "Framing": framing})
        path = out.with_name(f"{number}.ova")
        virt_ova.export(vsphere.uri(), "web", path)
        assert members(path)["web-disk1.vmdk"] == members(package)["d.vmdk"]
        assert virt_ova.open_package(path).verify().trust == "digests"
        seen = vsphere.seen()
        assert (len(seen["Downloads"]), seen["Completes"], seen["Aborts"]) == (3, 1, 0)


@pytest.mark.parametrize("tag", ["", "always"])
def test_what_was_cut_goes_on_where_the_server_can(tmp_path: Path, vsphere: VSphere, out: Path, tag: str) -> None:
    package = random_package(tmp_path, 60)
    disk = members(package)["d.vmdk"]
    virt_ova.install(package, vsphere.uri(), options=WEB)
    vsphere.set_faults(Action="cut", At=80, Export={"Cuts": 1, "Ranges": True, "Tag": tag, "Digests": "bad"})
    result = virt_ova.export(vsphere.uri(), "web", out)
    assert members(out)["web-disk1.vmdk"] == disk
    assert result.files[1].digests["SHA256"] == hashlib.sha256(disk).hexdigest()
    first, second = vsphere.seen()["Downloads"]
    begun = int(second["Range"].removeprefix("bytes=").removesuffix("-"))
    assert 0 < begun <= first["Size"]
    assert second["Size"] == len(disk) - begun


def test_what_is_another_by_now_begins_again(tmp_path: Path, esx: VSphere, out: Path) -> None:
    package = random_package(tmp_path, 60)
    disk = members(package)["d.vmdk"]
    virt_ova.install(package, esx.uri(), options=WEB)
    esx.set_faults(Action="cut", At=60, Export={"Cuts": 1, "Ranges": True, "Tag": "version-#"})
    virt_ova.export(esx.uri(), "web", out)
    assert members(out)["web-disk1.vmdk"] == disk
    _, second = esx.seen()["Downloads"]
    assert second["Range"]
    assert second["Size"] == len(disk)


def test_what_was_cut_between_the_last_byte_and_the_end_begins_again(
    tmp_path: Path, esx: VSphere, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "PIECE_BYTES", 512)
    monkeypatch.setattr(writer, "_ALIGNMENT", 512)
    virt_ova.install(small_ova(tmp_path / "a.ova"), esx.uri(), options=WEB)
    esx.set_faults(Action="cut", At=100, Export={"Cuts": 1, "Ranges": True})
    virt_ova.export(esx.uri(), "web", out)
    assert members(out)["web-disk1.vmdk"] == small_vmdk()
    assert [each["Range"] for each in esx.seen()["Downloads"]] == ["", f"bytes={len(small_vmdk())}-", ""]


def test_what_is_cut_time_and_again_is_given_up(tmp_path: Path, vsphere: VSphere, out: Path) -> None:
    virt_ova.install(random_package(tmp_path, 60), vsphere.uri(), options=WEB)
    vsphere.set_faults(Action="cut", At=50)
    error = failure(vsphere, out)
    assert (error.code, error.hint) == (
        "E_CONNECT",
        "Look at the network between here and the host, then export the machine again.",
    )
    assert error.message.startswith("reading 'web-disk1.vmdk', at byte ")
    assert error.message.endswith("; that was attempt 5 of 5")
    seen = vsphere.seen()
    assert (len(seen["Downloads"]), seen["Completes"], seen["Aborts"]) == (5, 0, 1)


def test_a_disk_whose_end_nobody_tells_must_be_whole(tmp_path: Path, esx: VSphere, out: Path) -> None:
    package = random_package(tmp_path, 60)
    virt_ova.install(package, esx.uri(), options=WEB)
    esx.set_faults(Export={"Framing": "close"})
    virt_ova.export(esx.uri(), "web", out)
    assert members(out)["web-disk1.vmdk"] == members(package)["d.vmdk"]
    out.unlink()
    esx.set_faults(Action="cut", At=50, Export={"Framing": "close"})
    error = failure(esx, out)
    assert (error.code, error.hint) == ("E_EXPORT", ONCE_MORE)
    assert error.message.startswith("what the server gives is no package that can be read: web")
    assert ".part" not in error.message


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        (b"", "found a raw image of 0 bytes, expected a stream-optimized VMDK"),
        (b"<html>Log in</html>", "found a raw image of 19 bytes, expected a stream-optimized VMDK"),
        (
            small_vmdk(),
            f"the image holds a disk of {CAPACITY} bytes (4.0 MiB), expected {2 * CAPACITY} bytes (8.0 MiB) ",
        ),
    ],
    ids=["nothing", "a page", "another disk"],
)
def test_what_is_not_the_disk_is_no_export(tmp_path: Path, esx: VSphere, out: Path, sent: bytes, found: str) -> None:
    virt_ova.install(small_ova(tmp_path / "a.ova"), esx.uri(), options=WEB)
    Path(esx.seen()["Uploads"][0]["File"]).write_bytes(sent)
    esx.set_faults(Export={"Capacity": 2 * CAPACITY // KIB})
    error = failure(esx, out)
    assert (error.code, error.hint) == ("E_EXPORT", ONCE_MORE)
    assert error.message.startswith(f"what the server gives is no package that can be read: web-disk1.vmdk: {found}")


def test_a_server_that_sends_no_more(tmp_path: Path, esx: VSphere, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("virt_ova.target.esx.upload.STALL_SECONDS", 0.3)
    monkeypatch.setattr(download, "STALL_SECONDS", 0.3)
    virt_ova.install(small_ova(tmp_path / "a.ova"), esx.uri(), options=WEB)
    esx.set_faults(Action="stall", At=50, Export={"Cuts": 1})
    virt_ova.export(esx.uri(), "web", out)
    out.unlink()
    esx.set_faults(Action="stall", At=50)
    error = failure(esx, out)
    assert error.code == "E_CONNECT"
    assert error.message == (
        "the host sent nothing, or too little, of 'web-disk1.vmdk' for 0 s, after 0 bytes; that was attempt 5 of 5"
    )


def test_a_download_may_take_longer_than_a_server_may_be_silent(
    tmp_path: Path, esx: VSphere, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time is for each piece."""
    monkeypatch.setattr("virt_ova.target.esx.upload.STALL_SECONDS", 1.2)
    package = random_package(tmp_path, 120)
    virt_ova.install(package, esx.uri(), options=WEB)
    esx.set_faults(PauseMs=15)
    virt_ova.export(esx.uri(), "web", out)
    assert len(esx.seen()["Downloads"]) == 1
    assert members(out)["web-disk1.vmdk"] == members(package)["d.vmdk"]


def test_a_lease_that_the_server_takes_back(tmp_path: Path, vsphere: VSphere, out: Path) -> None:
    virt_ova.install(small_ova(tmp_path / "a.ova"), vsphere.uri(), options=WEB)
    vsphere.set_faults(Action="lease-error", At=50)
    error = failure(vsphere, out)
    assert (error.code, error.message, error.hint) == (
        "E_LEASE",
        "the lease cannot be used: no space left on the datastore",
        LEASE,
    )
    assert len(vsphere.seen()["Downloads"]) == 1


def test_a_session_that_ends(tmp_path: Path, vsphere: VSphere, out: Path) -> None:
    virt_ova.install(small_ova(tmp_path / "a.ova"), vsphere.uri(), options=WEB)
    vsphere.set_faults(Action="expire", At=100)
    error = failure(vsphere, out)
    assert (error.code, error.hint) == ("E_SESSION", SESSION)


def test_a_server_that_goes_away(tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Listener(SilentMonitor):
        def note(self, message: str) -> None:
            notes.append(message)

    notes: list[str] = []
    with started(tmp_path) as vsphere:
        monkeypatch.setenv("LIBVIRT_AUTH_FILE", str(vsphere.auth_file))
        virt_ova.install(small_ova(tmp_path / "a.ova"), vsphere.uri(), options=WEB)
        vsphere.set_faults(Action="exit", At=50)
        with pytest.raises(TargetError, match=r"; that was attempt 5 of 5$") as caught:
            virt_ova.export(vsphere.uri(), "web", out, monitor=Listener())
    assert caught.value.code == "E_CONNECT"
    assert listing(out.parent) == []
    *_, removed, let_go = notes
    assert removed.startswith(f"Removed file {out}")
    assert let_go.startswith("connecting to 'esx://")
    assert let_go.endswith("; the server lets the machine go by itself after some minutes")


def test_a_server_that_does_not_agree_in_the_end(tmp_path: Path, vsphere: VSphere, out: Path) -> None:
    virt_ova.install(small_ova(tmp_path / "a.ova"), vsphere.uri(), options=WEB)
    vsphere.set_faults(Complete="The disk was not read.")
    error = failure(vsphere, out)
    assert (error.code, error.message) == ("E_VSPHERE", "completing the lease failed: The disk was not read")


def test_a_file_that_the_host_does_not_give(esx: VSphere, out: Path) -> None:
    """The simulator's own machines have no stored bytes."""
    with looked_into(esx) as folder:
        machine = folder.childEntity[0]
        machine.PowerOffVM_Task()
        name = machine.name
    with pytest.raises(TargetError) as caught:
        virt_ova.export(esx.uri(), name, out)
    assert (caught.value.code, caught.value.hint) == ("E_DOWNLOAD", LOOK)
    assert caught.value.message == f"the host does not give '{name}-disk1.vmdk': 404 Not Found"
    assert listing(out.parent) == []


def test_the_servers_digests_are_compared(tmp_path: Path, vsphere: VSphere, out: Path) -> None:
    virt_ova.install(small_ova(tmp_path / "a.ova"), vsphere.uri(), options=WEB)
    vsphere.set_faults(Export={"Digests": "bad"})
    error = failure(vsphere, out)
    found = hashlib.sha1(small_vmdk()).hexdigest()  # noqa: S324
    assert (error.code, error.message, error.hint) == (
        "E_EXPORT",
        f"the SHA1 of 'web-disk1.vmdk' is {found}, expected {'0' * 40} as the server says",
        "The file was damaged on its way: export the machine again.",
    )
    vsphere.set_faults(Export={"Digests": "good"})
    virt_ova.export(vsphere.uri(), "web", out)
    assert members(out)["web.ovf"].count(b'ovf:populatedSize="65536"') == 1


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        ({"Nothing": True, "Error": "No way."}, ("the server cannot describe 'web': No way", REMOVE)),
        ({"Nothing": True}, ("the server cannot describe 'web': it does not say why", REMOVE)),
        ({"Invent": True}, ("what the server gives is no package that can be read: the descriptor names", ONCE_MORE)),
        ({"GrowBytes": 9000}, ("the descriptor has 12", UNCHANGED)),
    ],
    ids=["refused", "silent", "other file", "grown"],
)
def test_a_descriptor_that_cannot_be_used(
    tmp_path: Path, esx: VSphere, out: Path, faults: dict[str, object], expected: tuple[str, str]
) -> None:
    virt_ova.install(small_ova(tmp_path / "a.ova"), esx.uri(), options=WEB)
    esx.set_faults(Export=faults)
    error = failure(esx, out)
    assert (error.code, error.hint) == ("E_EXPORT", expected[1])
    assert error.message.startswith(expected[0])
    assert esx.seen()["Aborts"] == 1


def test_a_descriptor_that_grows_a_little_fits(tmp_path: Path, esx: VSphere, out: Path) -> None:
    virt_ova.install(small_ova(tmp_path / "a.ova"), esx.uri(), options=WEB)
    esx.set_faults(Export={"GrowBytes": 3000})
    virt_ova.export(esx.uri(), "web", out)
    assert virt_ova.open_package(out).verify().trust == "digests"


def test_what_the_server_remarks_and_leaves_out_is_told(tmp_path: Path, esx: VSphere, out: Path) -> None:
    package = build_ova(tmp_path / "a.ova", with_manifest(with_iso(small_members(2))))
    virt_ova.install(package, esx.uri(), options=WEB)
    esx.set_faults(Export={"Error": "A device is not supported.", "Forget": "disk1.vmdk"})
    result = virt_ova.export(esx.uri(), "web", out)
    assert [(each.code, each.severity, each.message) for each in result.findings] == [
        ("EXPORT_ERROR", "error", "A device is not supported"),
        (
            "EXPORT_LEFT",
            "warning",
            "the descriptor does not name the file 'web-disk1.vmdk', which is left out",
        ),
    ]
    assert list(members(out)) == ["web.ovf", "web.mf", "web-disk2.vmdk", "web-file1.iso"]


def test_one_that_is_killed_is_recovered(tmp_path: Path, esx: VSphere, out: Path, state_home: Path) -> None:
    virt_ova.install(small_ova(tmp_path / "a.ova"), esx.uri(), options=WEB)
    esx.set_faults(Action="stall", At=50)
    with subprocess.Popen(command("export", "web", out, "-c", esx.uri()), env=environment()) as killed:
        while not esx.seen()["Downloads"]:
            time.sleep(0.05)
        killed.kill()
    assert len(listing(out.parent)) == 1
    done = run("recover", "--json")
    (file,) = json_of(done)["installs"]
    assert (file["target"], file["package"], file["outcome"]) == (out.as_uri(), "web", "undone")
    assert (file["removed"], listing(out.parent), listing(state_home / "virt-ova")) == ([f"file {out}"], [], [])


def test_whenever_it_is_killed(
    tmp_path: Path, vsphere: VSphere, out: Path, state_home: Path, request: pytest.FixtureRequest
) -> None:
    """The whole package or nothing of it, and the machine can be exported again."""
    virt_ova.install(small_ova(tmp_path / "a.ova"), vsphere.uri(), options=WEB)
    outcomes = set[Outcome]()
    with Executioner(vsphere.uri(), str(out), machine="web") as executioner:
        end = executioner.count()
        out.unlink()
        numbers = range(0, end, 1 if request.config.getoption("--long") else end // KILLS)
        for number in sorted({*numbers, end - BEFORE_THE_JOURNAL_GOES}):
            assert executioner.run(number), number
            installs = virt_ova.recover()
            assert [(each.left, each.foreign) for each in installs] in ([], [((), ())]), (number, installs)
            outcomes.update(each.outcome for each in installs)
            if out.exists():
                assert not installs or installs[0].outcome is Outcome.FINISHED, number
                assert virt_ova.open_package(out).verify().trust == "digests"
                out.unlink()
            assert (listing(out.parent), listing(state_home / "virt-ova")) == ([], []), number
    assert outcomes == {Outcome.UNDONE, Outcome.FINISHED}
    assert virt_ova.export(vsphere.uri(), "web", out).path == out


def test_ctrl_c_while_a_file_is_read(tmp_path: Path, vsphere: VSphere, out: Path) -> None:
    virt_ova.install(small_ova(tmp_path / "a.ova"), vsphere.uri(), options=WEB)
    vsphere.set_faults(Action="stall", At=50)
    err = stopped(lambda: vsphere.seen()["Downloads"], "export", "web", out, "-c", vsphere.uri())
    assert "Removed file " in err
    assert err.endswith("virt-ova: error: stopped by SIGINT [E_INTERRUPTED]\n")
    assert listing(out.parent) == []
    assert vsphere.seen()["Aborts"] == 1


def test_a_slow_server_hears_of_progress_all_the_time(tmp_path: Path, esx: VSphere, out: Path) -> None:
    virt_ova.install(random_package(tmp_path, 60), esx.uri(), options=WEB)
    esx.set_faults(PauseMs=20)
    virt_ova.export(esx.uri(), "web", out)
    beats = esx.seen()["Progress"]
    assert beats == sorted(beats)
    assert (beats[0], 0 < beats[-1] < 100) == (0, True)


def test_a_lease_that_nobody_can_keep_alive(
    tmp_path: Path, esx: VSphere, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "SILENCE_SECONDS", 0.3)
    virt_ova.install(random_package(tmp_path, 20), esx.uri(), options=WEB)
    esx.set_faults(PauseMs=100, DeafBeats=1000)
    error = failure(esx, out)
    assert (error.code, error.hint) == ("E_CONNECT", AGAIN)
    assert error.message.startswith("keeping the lease alive failed: ")
    assert "attempt" not in error.message


def test_a_lease_that_leads_elsewhere(tmp_path: Path, esx: VSphere, vcenter: VSphere, out: Path) -> None:
    for each in (esx, vcenter):
        virt_ova.install(small_ova(tmp_path / f"{each.address}.ova"), each.uri(), options=WEB)
    esx.set_faults(DeviceHost="198.51.100.7")
    error = failure(esx, out)
    assert error.code == "E_LEASE"
    assert error.message.startswith("the lease cannot be used: it leads to 'https://198.51.100.7/nfc/")
    elsewhere = vcenter.address.replace("127.0.0.1", "localhost")
    vcenter.set_faults(DeviceHost=elsewhere, Thumbprint=":".join(["00"] * 20))
    error = failure(vcenter, out)
    assert error.code == "E_TLS"
    assert error.message.startswith("reading 'web-disk1.vmdk', at byte 0, failed: its certificate has the SHA1 ")
    vcenter.set_faults(DeviceHost=elsewhere, Thumbprint=thumbprint(vcenter.certificate, "sha1"))
    virt_ova.export(vcenter.uri(), "web", out)


def test_a_name_that_comes_to_be_meanwhile_is_not_replaced(
    tmp_path: Path, esx: VSphere, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    virt_ova.install(small_ova(tmp_path / "a.ova"), esx.uri(), options=WEB)
    monkeypatch.setattr(os.path, "lexists", lambda _path: False)
    out.write_text("mine")
    with pytest.raises(TargetError, match=r" exists already$") as caught:
        virt_ova.export(esx.uri(), "web", out)
    assert caught.value.code == "E_EXISTS"
    assert (listing(out.parent), out.read_text()) == (["web.ova"], "mine")


def test_from_libvirt_is_refused(out: Path) -> None:
    done = run("export", "web", out, "-c", "qemu:///system", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["code"] == "E_NOT_SUPPORTED"
    assert done.stderr == error_lines(
        "E_NOT_SUPPORTED",
        "machines cannot be exported from 'qemu:///system', expected a URI that begins with one of esx:, vpx:",
        "Name the host with --connect; 'virt-ova targets' says from where machines can be exported.",
    )

"""Packages and wishes that cannot be served: one clear error with a hint, and nothing is left."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from tests.build.command import command, environment, error_lines, json_of, virt_ova
from tests.build.disks import guest_bytes
from tests.build.ova import build_folder, build_ova, manifest_for
from tests.build.small import (
    CAPACITY,
    damaged_message,
    damaged_ova,
    edited,
    is_installed,
    listing,
    small_disk,
    small_members,
    small_ova,
    small_vmdk,
)

Members = list[tuple[str, bytes]]

FETCH_AGAIN = "Give an .ova, an .ovf, or a folder that holds one; if it is a download, fetch it again."
DAMAGED = "The file is damaged or was changed: copy or download the package again."


@pytest.fixture
def ova(tmp_path: Path) -> Path:
    return small_ova(tmp_path / "a.ova")


def refused(done: subprocess.CompletedProcess[str], *error: str, status: int = 1) -> bool:
    """Whether it printed exactly this error, and nothing else."""
    assert (done.stdout, done.stderr, done.returncode) == ("", error_lines(*error), status)
    return True


class TestBadPackages:
    """One clear error with a hint, status 1, and nothing is left: neither by install nor by convert."""

    def refuse(self, package: Path, *error: str) -> None:
        folder = package.parent
        before = listing(folder)
        for words in (("install", package, "-c", f"dir:{folder}/machines"), ("convert", package, folder / "new.qcow2")):
            assert refused(virt_ova(*words), *error)
            assert listing(folder) == before

    def refuse_members(self, folder: Path, members: Members, *error: str) -> None:
        self.refuse(build_ova(folder / "a.ova", members), *error)

    def test_not_a_tar(self, tmp_path: Path) -> None:
        path = tmp_path / "a.ova"
        path.write_bytes(b"no appliance" * 1000)
        self.refuse(path, "E_NOT_OVA", f"'{path}' is of no known format, expected an OVA (a tar)", FETCH_AGAIN)

    def test_a_disk_image_in_its_place(self, tmp_path: Path) -> None:
        path = tmp_path / "a.ova"
        path.write_bytes(small_vmdk())
        message = f"'{path}' is a VMDK image, expected an OVA (a tar)"
        self.refuse(path, "E_NOT_OVA", message, "It is a disk image, not a package.")

    def test_not_there(self, tmp_path: Path) -> None:
        path = tmp_path / "a.ova"
        message = f"'{path}' cannot be opened: No such file or directory"
        self.refuse(path, "E_SOURCE_OPEN", message, "Check the path and its permissions.")

    def test_truncated(self, ova: Path) -> None:
        os.truncate(ova, 40960)
        message = f"{ova}: 'a1.vmdk' ends at byte 76800, but the file at byte 40960"
        self.refuse(ova, "E_TAR_TRUNCATED", message, "The file is incomplete: copy or download it again.")

    def test_no_descriptor(self, tmp_path: Path) -> None:
        message = (
            f"{tmp_path}/a.ova: found none, expected exactly one descriptor (.ovf or .vmx) at the top of the package"
        )
        hint = "This is another kind of tar, or an OVA that was packed with a folder around its files."
        self.refuse_members(tmp_path, small_members()[1:], "E_PKG_OVF", message, hint)

    def test_two_descriptors(self, tmp_path: Path) -> None:
        members = small_members()
        message = (
            f"{tmp_path}/a.ova: found 'a.ovf', 'b.ovf', expected exactly one descriptor (.ovf or .vmx) "
            "at the top of the package"
        )
        hint = "Unpack it, and give the path of one descriptor."
        self.refuse_members(tmp_path, [*members, ("b.ovf", members[0][1])], "E_PKG_OVF", message, hint)

    def test_a_disk_is_missing(self, tmp_path: Path) -> None:
        hint = "Get the complete package, with its files beside the descriptor."
        message = "the file 'a1.vmdk' is not in the package"
        self.refuse_members(tmp_path, small_members()[:1], "E_PKG_FILE", message, hint)

    def test_a_disk_has_another_capacity(self, tmp_path: Path) -> None:
        message = (
            "a1.vmdk: the image holds a disk of 4194304 bytes (4.0 MiB), "
            "expected 1073741824 bytes (1.0 GiB) as the descriptor declares"
        )
        hint = "The descriptor belongs to another disk, or was edited by hand: correct its ovf:capacity."
        members = edited(small_members(), f'"{CAPACITY}"', '"1073741824"')
        self.refuse_members(tmp_path, members, "E_DISK_CAPACITY", message, hint)

    def test_the_descriptor_has_another_digest(self, tmp_path: Path) -> None:
        members = small_members()
        changed = edited(members, "A machine", "Another")
        expected, found = (hashlib.sha256(each[0][1]).hexdigest() for each in (members, changed))
        message = f"the SHA256 of 'a.ovf' is {found}, expected {expected} as the manifest says"
        self.refuse_members(tmp_path, [*changed, ("a.mf", manifest_for(members))], "E_DIGEST", message, DAMAGED)

    def test_the_manifest_does_not_list_a_file(self, tmp_path: Path) -> None:
        members = small_members()
        message = "a.ova: the manifest does not list 'a1.vmdk'"
        hint = "Files were added to or removed from the package after it was made."
        changed = [*members, ("a.mf", manifest_for(members[:1]))]
        self.refuse_members(tmp_path, changed, "E_MANIFEST_COVERAGE", message, hint)

    def test_a_file_is_compressed_in_an_odd_way(self, tmp_path: Path) -> None:
        members = edited(small_members(), '<File ovf:id="file1"', '<File ovf:id="file1" ovf:compression="bzip2"')
        message = "the file 'a1.vmdk' is compressed ('bzip2'), expected gzip or no compression"
        hint = "Export the package again without compression."
        self.refuse_members(tmp_path, members, "E_NOT_SUPPORTED", message, hint)

    def test_a_file_is_not_compressed_as_the_descriptor_says(self, tmp_path: Path) -> None:
        members = edited(small_members(), '<File ovf:id="file1"', '<File ovf:id="file1" ovf:compression="gzip"')
        message = "a1.vmdk: found no gzip data, expected a gzip file and nothing else"
        hint = "It is not compressed as its package says: export the package again."
        self.refuse_members(tmp_path, members, "E_DISK_COMPRESSION", message, hint)

    def test_a_file_is_elsewhere(self, tmp_path: Path) -> None:
        members = edited(small_members(), 'ovf:href="a1.vmdk"', 'ovf:href="http://127.0.0.1/a1.vmdk"')
        message = "the file 'http://127.0.0.1/a1.vmdk' is elsewhere on a network, expected one in the package"
        hint = "Download it, put it beside the descriptor, and change its href to the file's name."
        self.refuse_members(tmp_path, members, "E_REF_REMOTE", message, hint)

    def test_a_disk_has_another_digest_which_shows_when_it_is_copied(self, tmp_path: Path) -> None:
        ova = damaged_ova(tmp_path / "a.ova")
        error = error_lines("E_DIGEST", damaged_message(), DAMAGED)
        done = virt_ova("install", ova, "-c", f"dir:{tmp_path}/machines")
        told = "Copying a1.vmdk (70.5 KiB)\nRemoved volume vm-disk1.qcow2\n"
        assert (done.stdout, done.stderr, done.returncode) == ("", told + error, 1)
        done = virt_ova("convert", ova, tmp_path / "new.qcow2")
        told = f"Copying a1.vmdk (70.5 KiB)\nRemoved file {tmp_path}/new.qcow2\n"
        assert (done.stdout, done.stderr, done.returncode) == ("", told + error, 1)
        assert listing(tmp_path) == ["a.ova"]

    def test_a_damaged_disk_is_installed_when_that_is_asked_for(self, tmp_path: Path) -> None:
        done = virt_ova("install", damaged_ova(tmp_path / "a.ova"), "-c", f"dir:{tmp_path}/m", "--no-verify", "--json")
        assert (done.returncode, json_of(done)["trust"]) == (0, "unverified")
        assert is_installed(tmp_path / "m")


class TestBadWishes:
    """What the target or the plan cannot do: status 1; what makes no sense at all: status 2."""

    @pytest.mark.parametrize(
        ("words", "error"),
        [
            (
                ["--network", "Nope=user"],
                (
                    "E_NETWORK",
                    "the package has no network 'Nope', it has: 'VM Network'",
                    "Name one of them, as --network 'OVF NAME=TARGET'.",
                ),
            ),
            (
                ["--network", "VM Network=bridge:a;b c"],
                (
                    "E_NETWORK",
                    (
                        "'a;b c' cannot be the name of a bridge, "
                        "expected 1 to 128 of A-Z a-z 0-9 . _ + : @ - and blank, a letter or digit first"
                    ),
                ),
            ),
            (
                ["--network", "VM Network=network:default"],
                (
                    "E_NETWORK",
                    "'VM Network' goes to the network 'default', and a folder has none",
                    "Use user, none or bridge:NAME, as in --network 'VM Network=user'.",
                ),
            ),
            (["--pool", "p"], ("E_POOL", "a folder has no storage pools, found the pool 'p'")),
            (["--deployment-option", "x"], ("E_OPTION", "the package has no deployment option 'x', it has: none")),
            (
                ["--name", "../x"],
                (
                    "E_NAME",
                    (
                        "the name '../x' cannot be used, expected 1 to 63 letters, digits, blanks or any of ._+-, "
                        "the first a letter or digit"
                    ),
                    "Use 'x'.",
                ),
            ),
            (
                ["--virt-type", "kvm"],
                (
                    "E_VIRT_TYPE",
                    "the host cannot run machines of type 'kvm', it can: qemu",
                    "Leave --virt-type out to get the best there is.",
                ),
            ),
        ],
    )
    def test_of_the_plan(self, ova: Path, words: list[str], error: tuple[str, ...]) -> None:
        assert refused(virt_ova("install", ova, "-c", f"dir:{ova.parent}/m", *words), *error)
        assert listing(ova.parent) == ["a.ova"]

    @pytest.mark.parametrize(
        ("uri", "error"),
        [
            (
                "foo://u:secret@host/",
                (
                    "E_TARGET",
                    (
                        "no driver installs to 'foo://u@host/', expected a URI that begins with one of "
                        "dir:, esx:, qemu:, test:, vpx:, xen:"
                    ),
                    "A folder is written dir:PATH, the local hypervisor qemu:///system.",
                ),
            ),
            ("dir:", ("E_CONNECT", "'dir:' names no folder, expected dir:PATH or dir:///PATH")),
            ("dir:/dev/null", ("E_CONNECT", "'/dev/null' is not a folder")),
            (
                "qemu+unix:///system?socket=/nonexistent",
                (
                    "E_CONNECT",
                    (
                        "connecting to 'qemu+unix:///system?socket=/nonexistent' failed: "
                        "Failed to connect socket to '/nonexistent': No such file or directory"
                    ),
                    "Check that the daemon runs and that you may use it: virsh -c URI version.",
                ),
            ),
            (
                "test:///default",
                (
                    "E_NOT_SUPPORTED",
                    "test:///default is libvirt's mock driver, which has no volume upload and keeps no bytes",
                    "Plans can be made for it, machines cannot be installed; use dir:PATH or qemu:///session.",
                ),
            ),
        ],
    )
    def test_of_the_target(self, ova: Path, uri: str, error: tuple[str, ...]) -> None:
        assert refused(virt_ova("install", ova, "-c", uri), *error)

    def test_a_pool_that_is_not_there(self, ova: Path) -> None:
        done = virt_ova("install", ova, "-c", "test:///default", "--pool", "nope")
        message = "test:///default has no storage pool 'nope', found 'default-pool'"
        assert refused(done, "E_POOL", message, "Choose one with --pool.")

    @pytest.mark.parametrize(
        ("words", "message", "hint"),
        [
            ([], "the following arguments are required: VERB", "Run 'virt-ova --help'."),
            (["install"], "the following arguments are required: SOURCE", "Run 'virt-ova install --help'."),
            (["inspect", "a.ova", "b.ova"], "unrecognized arguments: b.ova", "Run 'virt-ova --help'."),
            (["inspect", "a.ova", "--js"], "unrecognized arguments: --js", "Run 'virt-ova --help'."),
            (
                ["install", "a.ova", "--network", "lan"],
                (
                    "--network 'lan': expected 'OVF NAME=TARGET', where TARGET is network:NAME, bridge:NAME, user, "
                    "none, private[:NAME] or shared[:NAME]"
                ),
                "Run 'virt-ova --help'.",
            ),
            (
                ["install", "a.ova", "--wait-boot", "-1"],
                "--wait-boot expects a number of seconds above 0",
                "Run 'virt-ova --help'.",
            ),
            (
                ["install", "a.ova", "--wait-boot", "soon"],
                "argument --wait-boot: invalid float value: 'soon'",
                "Run 'virt-ova install --help'.",
            ),
            (
                ["install", "a.ova", "--plan", "/nonexistent"],
                "--plan '/nonexistent': No such file or directory",
                "Run 'virt-ova --help'.",
            ),
            (
                ["install", "a.ova", "--report", "/nonexistent/r.json"],
                "--report '/nonexistent/r.json': No such file or directory",
                "Run 'virt-ova --help'.",
            ),
            (
                ["install", "a.ova", "--plan", "p.json", "--name", "web"],
                (
                    "--plan cannot be combined with options that decide what the plan says "
                    "(--name, --network, --disk-mode, --format, --deployment-option, --virt-type, --property, "
                    "--machine, --disk-bus, --nic-model, --keep-mac)"
                ),
                "Give them to 'virt-ova plan', or edit the plan.",
            ),
        ],
    )
    def test_usage(self, words: list[str], message: str, hint: str) -> None:
        assert refused(virt_ova(*words), "E_USAGE", message, hint, status=2)
        if words:
            done = virt_ova(*words, "--json")
            assert (json_of(done), done.returncode) == (
                {"error": {"code": "E_USAGE", "message": message, "hint": hint}},
                2,
            )

    def test_an_unknown_verb_is_told_the_known_ones(self) -> None:
        done = virt_ova("instal", "a.ova")
        assert done.returncode == 2
        assert done.stderr.startswith("virt-ova: error: argument VERB: invalid choice: 'instal' (choose from ")

    def test_which_disk_of_two(self, tmp_path: Path) -> None:
        ova = small_ova(tmp_path / "a.ova", disks=2)
        hint = "Choose one with --disk ID; 'virt-ova disks' lists them."
        message = "a.ova: the package has 2 disks, expected one of 'disk1', 'disk2'"
        assert refused(virt_ova("convert", ova, tmp_path / "x"), "E_PKG_DISK", message, hint)
        message = "a.ova: the package has no disk 'x', expected one of 'disk1', 'disk2'"
        assert refused(virt_ova("convert", ova, tmp_path / "x", "--disk", "x"), "E_PKG_DISK", message, hint)
        assert virt_ova("convert", ova, tmp_path / "x", "--disk", "disk2").returncode == 0
        assert guest_bytes(tmp_path / "x") == small_disk(2)

    @pytest.mark.parametrize("name", ["a.ovf", "a1.vmdk", "a.mf", "a-link"])
    def test_a_report_in_place_of_a_file_of_the_package(self, tmp_path: Path, name: str) -> None:
        members = small_members()
        folder = build_folder(tmp_path / "p", [*members, ("a.mf", manifest_for(members))])
        (folder / "a-link").hardlink_to(folder / "a1.vmdk")
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        message = (
            f"--report '{folder}/{name}' holds something else than a report, "
            "expected a new file, an empty one, or an earlier report"
        )
        done = virt_ova("install", folder, "-c", f"dir:{tmp_path}/m", "--report", folder / name)
        assert refused(done, "E_USAGE", message, "Run 'virt-ova --help'.", status=2)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before

    def test_a_report_in_place_of_what_is_no_file(self, ova: Path) -> None:
        os.mkfifo(ova.parent / "fifo")
        for path in (ova.parent / "fifo", "/dev/null"):
            done = virt_ova("install", ova, "--report", path)
            message = f"--report '{path}' is no regular file"
            assert refused(done, "E_USAGE", message, "Run 'virt-ova --help'.", status=2)

    def test_a_report_on_standard_output(self, ova: Path) -> None:
        with (ova.parent / "out").open("w") as out:
            done = subprocess.run(
                command("install", ova, "--report", "/dev/stdout"),
                stdout=out,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
                env=environment(),
            )
        message = "--report '/dev/stdout' is standard output, where --json prints the same"
        assert (done.stderr, done.returncode) == (error_lines("E_USAGE", message, "Run 'virt-ova --help'."), 2)

    @pytest.mark.parametrize(("option", "most"), [("--plan", 16 << 20), ("--property-file", 1 << 20)])
    def test_a_file_without_end(self, ova: Path, option: str, most: int) -> None:
        done = virt_ova("install", ova, "-c", f"dir:{ova.parent}/m", option, "/dev/zero")
        message = f"{option} '/dev/zero' is longer than {most} bytes"
        assert refused(done, "E_USAGE", message, "Run 'virt-ova --help'.", status=2)

    @pytest.mark.parametrize(
        ("words", "argument"),
        [
            (["install", "a.ova", "-c", ""], "-c/--connect"),
            (["install", "a.ova", "--plan="], "--plan"),
            (["plan", "a.ova", "--pool", ""], "--pool"),
            (["inspect", ""], "SOURCE"),
            (["convert", "a.ova", ""], "OUTPUT"),
        ],
    )
    def test_an_empty_value(self, words: list[str], argument: str) -> None:
        message = f"argument {argument}: expected a value, found an empty text"
        assert refused(virt_ova(*words), "E_USAGE", message, f"Run 'virt-ova {words[0]} --help'.", status=2)

    def test_a_report_in_place_of_what_is_read(self, ova: Path) -> None:
        before = ova.read_bytes()
        done = virt_ova("install", ova, "--report", ova)
        message = f"--report '{ova}' would overwrite what this run reads"
        assert refused(done, "E_USAGE", message, "Run 'virt-ova --help'.", status=2)
        assert ova.read_bytes() == before

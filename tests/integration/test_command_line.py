"""The command line as a user meets it: what it prints, its JSON, and what it leaves on the disk."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.build.command import error_lines, json_of, virt_ova
from tests.build.faults import run_failing
from tests.build.ova import build_folder, build_ova, with_manifest
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

DIGESTS = "trust: digests (the bytes are those of the manifest; who made it was not checked)\n"


@pytest.fixture
def ova(tmp_path: Path) -> Path:
    return small_ova(tmp_path / "a.ova")


def refused(done: subprocess.CompletedProcess[str], *error: str, status: int = 1) -> bool:
    """Whether it printed exactly this error, and nothing else."""
    assert (done.stdout, done.stderr, done.returncode) == ("", error_lines(*error), status)
    return True


NIC = "Envelope/VirtualSystem/VirtualHardwareSection/Item (line 22)"


class TestInstall:
    def test_says_what_was_done_and_what_to_do_next(self, ova: Path, tmp_path: Path) -> None:
        done = virt_ova("install", ova, "-c", "dir:m", cwd=tmp_path)
        assert done.returncode == 0
        first, *rest = done.stdout.splitlines()
        assert first.startswith("Installed vm on dir:m in ")
        assert rest == [
            f"  vm/vm-disk1.qcow2  4.0 MiB  expand  {tmp_path}/m/vm/vm-disk1.qcow2",
            DIGESTS.rstrip(),
            f"  info: {NIC}: network 'VM Network' is not named by an option and goes to user [NETWORK_DEFAULT]",
            f"Start it: {tmp_path}/m/vm/run",
        ]
        begun, ended = done.stderr.splitlines()
        assert begun == "Copying a1.vmdk (70.5 KiB)"
        assert ended.startswith("Copying a1.vmdk: done in ")
        assert is_installed(tmp_path / "m")

    def test_as_json(self, ova: Path, tmp_path: Path) -> None:
        done = virt_ova("install", ova, "-c", f"dir:{tmp_path}/m", "--name", "web", "--json", "--format", "raw")
        assert (done.returncode, done.stderr) == (0, "")
        document = json_of(done)
        path = tmp_path / "m" / "web" / "web-disk1.raw"
        (volume,) = document.pop("volumes")
        assert volume == {
            "name": "web/web-disk1.raw", "path": str(path), "pool": "", "capacity_bytes": CAPACITY, "mode": "expand",
        }  # fmt: skip
        (domain,) = document.pop("domains")
        assert domain["name"] == "web"
        assert f"<uuid>{domain['uuid']}</uuid>" in (path.parent / "domain.xml").read_text()
        assert (document.pop("trust"), document.pop("booted")) == ("digests", None)
        assert 0 < document.pop("elapsed_seconds") < 60
        assert {finding["severity"] for finding in document.pop("findings")} == {"info"}
        assert document == {"boots": [], "guests": [], "networks": [], "signer": None}
        assert path.read_bytes() == small_disk()

    def test_a_second_one_of_the_name_leaves_the_first_alone(self, ova: Path, tmp_path: Path) -> None:
        assert virt_ova("install", ova, "-c", f"dir:{tmp_path}/m").returncode == 0
        before = {path: path.read_bytes() for path in (tmp_path / "m" / "vm").iterdir()}
        hint = "Choose another name for the machine with --name, or remove that folder."
        done = virt_ova("install", ova, "-c", f"dir:{tmp_path}/m")
        assert refused(done, "E_EXISTS", f"'{tmp_path}/m/vm' exists already", hint)
        assert {path: path.read_bytes() for path in (tmp_path / "m" / "vm").iterdir()} == before
        assert virt_ova("install", ova, "-c", f"dir:{tmp_path}/m", "--name", "two").returncode == 0
        assert listing(tmp_path / "m" / "two") == ["domain.xml", "run", "two-disk1.qcow2"]

    def test_a_dry_run_writes_nothing_and_tells_all(self, ova: Path, tmp_path: Path) -> None:
        done = virt_ova("install", ova, "-c", f"dir:{tmp_path}/m", "--dry-run")
        assert (done.returncode, done.stderr) == (0, "")
        lines = done.stdout.splitlines()
        assert lines[:4] == [
            "Nothing was written. This is what would be done:",
            "machine vm: 2 CPUs, 512.0 MiB",
            "  vm-disk1.qcow2  4.0 MiB  qcow2  expand",
            "hardware",
        ]
        assert "  kept    item 4: e1000 -> e1000-82545em on user: the target has it" in lines
        planned = json_of(virt_ova("install", ova, "-c", f"dir:{tmp_path}/m", "--dry-run", "--json"))
        assert planned == json_of(virt_ova("plan", ova, "-c", f"dir:{tmp_path}/m"))
        assert listing(tmp_path) == ["a.ova"]

    def test_a_dry_run_refuses_what_an_install_refuses(self, ova: Path, tmp_path: Path) -> None:
        (tmp_path / "m" / "vm").mkdir(parents=True)
        done = virt_ova("install", ova, "-c", f"dir:{tmp_path}/m", "--dry-run")
        hint = "Choose another name for the machine with --name, or remove that folder."
        assert refused(done, "E_EXISTS", f"'{tmp_path}/m/vm' exists already", hint)

    def test_an_edited_plan_is_what_is_installed(self, ova: Path, tmp_path: Path) -> None:
        done = virt_ova("plan", ova, "-c", f"dir:{tmp_path}/m")
        assert done.returncode == 0
        plan = json_of(done)
        plan["machines"][0]["memory_bytes"] = 256 << 20
        (tmp_path / "p.json").write_text(json.dumps(plan))
        assert virt_ova("install", ova, "-c", f"dir:{tmp_path}/m", "--plan", tmp_path / "p.json").returncode == 0
        assert "-m 256" in (tmp_path / "m" / "vm" / "run").read_text()
        assert is_installed(tmp_path / "m")

    def test_a_plan_of_another_package_is_refused(self, ova: Path, tmp_path: Path) -> None:
        other = build_ova(tmp_path / "b.ova", edited(small_members(), "A machine", "Another"))
        plan = tmp_path / "p.json"
        plan.write_text(virt_ova("plan", other, "-c", f"dir:{tmp_path}/m").stdout)
        digests = [hashlib.sha256(virt_ova("descriptor", each).stdout.encode()).hexdigest() for each in (other, ova)]
        message = "the plan was made for 'b.ova', whose descriptor has the SHA-256 {}, found {} in 'a.ova'"
        hint = "Make the plan again with 'virt-ova plan' from this package."
        done = virt_ova("install", ova, "-c", f"dir:{tmp_path}/m", "--plan", plan)
        assert refused(done, "E_PLAN_PACKAGE", message.format(*digests), hint)

    def test_texts_of_an_edited_plan_reach_no_terminal_as_they_are(self, ova: Path, tmp_path: Path) -> None:
        plan = json_of(virt_ova("plan", ova, "-c", f"dir:{tmp_path}/m"))
        plan["decisions"] = [{"item": "\x1b[1m", "outcome": "mapped", "result": "\x1b[2m", "reason": "\x1b[3m"}]
        plan["findings"] = [{"code": "\x1b[4m", "severity": "warning", "message": "\x1b[5m", "where": "\x1b[6m"}]
        (tmp_path / "p.json").write_text(json.dumps(plan))
        done = virt_ova("install", ova, "-c", f"dir:{tmp_path}/m", "--dry-run", "--plan", tmp_path / "p.json")
        assert done.returncode == 0
        assert done.stdout.splitlines()[-2:] == [
            r"  mapped  \x1b[1m -> \x1b[2m: \x1b[3m",
            r"  warning: \x1b[6m: \x1b[5m [\x1b[4m]",
        ]

    def test_what_is_no_plan(self, ova: Path) -> None:
        done = virt_ova("install", ova, "-c", "dir:m", "--plan", ova)
        message = "the plan cannot be read: JSON is malformed: invalid character (byte 0)"
        assert refused(done, "E_PLAN_JSON", message, "Make it anew with 'virt-ova plan'.")

    def test_the_report_of_a_success_and_of_a_failure(self, ova: Path, tmp_path: Path) -> None:
        report = tmp_path / "r.json"
        report.write_text(json.dumps({"an": "earlier report, longer than the error" * 100}))
        words = ("install", ova, "-c", f"dir:{tmp_path}/m", "--report", report)
        done = virt_ova(*words, "--json")
        assert json.loads(report.read_text()) == json_of(done)
        done = virt_ova(*words, "--json")
        assert (json.loads(report.read_text()), done.returncode) == (json_of(done), 1)
        assert json_of(done)["error"]["code"] == "E_EXISTS"

    def test_a_report_that_cannot_be_written_is_told_and_the_machine_stays(self, ova: Path, tmp_path: Path) -> None:
        report = tmp_path / "r.json"
        words = ("install", ova, "-c", f"dir:{tmp_path}/m", "--report", report, "--json")
        done = run_failing(["write:error=ENOSPC"], *words, only=report)
        assert done.stderr == error_lines("E_OUTPUT", "the report cannot be written: No space left on device")
        assert (done.returncode, json_of(done)["trust"]) == (1, "digests")
        assert is_installed(tmp_path / "m")

    def test_a_folder_and_a_descriptor_in_it(self, tmp_path: Path) -> None:
        build_folder(tmp_path / "p", with_manifest(small_members()))
        for number, source in enumerate([tmp_path / "p", tmp_path / "p" / "a.ovf"]):
            done = virt_ova("install", source, "-c", f"dir:{tmp_path}/m{number}", "--json")
            assert (done.returncode, json_of(done)["trust"]) == (0, "digests")
            assert is_installed(tmp_path / f"m{number}")


class TestOutput:
    def test_verify(self, ova: Path, tmp_path: Path) -> None:
        done = virt_ova("verify", ova)
        assert (done.stdout, done.returncode) == ("  ok  SHA256  a.ovf\n  ok  SHA256  a1.vmdk\n" + DIGESTS, 0)
        done = virt_ova("verify", damaged_ova(tmp_path / "d.ova"))
        assert done.stdout.splitlines() == [
            "  ok       SHA256  a.ovf",
            "  DIFFERS  SHA256  a1.vmdk",
            "trust: unverified (the package is not in order)",
            f"  error: a1.vmdk: {damaged_message()} [DIGEST]",
        ]
        assert done.returncode == 1

    def test_verify_without_a_manifest(self, tmp_path: Path) -> None:
        done = virt_ova("verify", build_ova(tmp_path / "a.ova", small_members()))
        assert (done.stdout, done.returncode) == (
            "trust: unverified (there is no manifest, or it was not checked)\n",
            0,
        )

    def test_disks_tells_where_they_lie(self, ova: Path) -> None:
        heading, row = virt_ova("disks", ova).stdout.splitlines()
        assert heading.split() == ["ID", "FILE", "SIZE", "OFFSET", "CAPACITY", "FORMAT"]
        identity, name, size, offset, *rest = row.split()
        assert (identity, name, rest) == ("disk1", "a1.vmdk", ["4.0", "MiB", "vmdk-stream"])
        assert ova.read_bytes()[int(offset) :][: int(size)] == small_vmdk()
        (disk,) = json_of(virt_ova("disks", ova, "--json"))["disks"]
        assert (disk["file_size"], disk["file_offset"]) == (int(size), int(offset))

    def test_the_descriptor_byte_for_byte(self, ova: Path) -> None:
        assert virt_ova("descriptor", ova).stdout.encode() == small_members()[0][1]
        document = json_of(virt_ova("descriptor", ova, "--json"))
        assert document == {"name": "a.ovf", "descriptor": small_members()[0][1].decode()}

    def test_inspect(self, ova: Path) -> None:
        assert virt_ova("inspect", ova).stdout.splitlines() == [
            "ova, OVF 1.1, by vmware, manifest: SHA256, 2 entries",
            "machine vm",
            "  guest     debian12_64Guest",
            "  cpus      2",
            "  memory    512.0 MiB",
            "  firmware  bios",
            "  hardware  vmx-13",
            "  nic       e1000 on VM Network",
            "disks",
            "  disk1  a1.vmdk  4.0 MiB  vmdk-stream",
            "networks",
            "  VM Network  A net",
        ]

    def test_inspect_tells_findings_of_the_descriptor_too(self, tmp_path: Path) -> None:
        members = edited(small_members(), "</VirtualSystem>", "<Odd/></VirtualSystem>")
        done = virt_ova("inspect", build_ova(tmp_path / "a.ova", members))
        findings = json_of(virt_ova("inspect", tmp_path / "a.ova", "--json"))["findings"]
        told = done.stdout.partition("\nfindings\n")[2].splitlines()
        assert findings
        assert [finding["code"] for finding in findings] == [line.rpartition("[")[2].rstrip("]") for line in told]

    def test_convert(self, ova: Path, tmp_path: Path) -> None:
        done = virt_ova("convert", ova, tmp_path / "d.raw", "--format", "raw")
        wrote, trust = done.stdout.splitlines(keepends=True)
        assert wrote.startswith(f"Wrote {tmp_path}/d.raw: disk disk1 as raw, 4.0 MiB, expand, in ")
        assert trust == DIGESTS
        assert (tmp_path / "d.raw").read_bytes() == small_disk()
        document = json_of(virt_ova("convert", ova, tmp_path / "d.qcow2", "--json"))
        assert document.pop("elapsed_seconds") > 0
        assert document.pop("findings", []) == []
        assert document == {
            "disk": "disk1", "path": str(tmp_path / "d.qcow2"), "format": "qcow2", "mode": "expand",
            "capacity_bytes": CAPACITY, "trust": "digests", "signer": None,
        }  # fmt: skip

    def test_convert_replaces_nothing(self, ova: Path, tmp_path: Path) -> None:
        (tmp_path / "d").write_bytes(b"mine")
        done = virt_ova("convert", ova, tmp_path / "d")
        assert refused(
            done, "E_EXISTS", f"'{tmp_path}/d' exists already", "Choose another name, or remove what is there."
        )
        assert (tmp_path / "d").read_bytes() == b"mine"

    def test_targets_tell_what_they_can_do_here(self, tmp_path: Path) -> None:
        no_daemon = f"qemu+unix:///system?socket={tmp_path}/none"
        done = virt_ova("targets", LIBVIRT_DEFAULT_URI=no_daemon)
        assert done.returncode == 0
        assert "dir: A folder: disks, domain XML and a script that runs the machine under QEMU" in done.stdout
        assert "\n  here  ready, runs qemu, boots bios" in done.stdout
        here = f"installed, but {no_daemon} cannot be opened: connecting to '{no_daemon}' failed: "
        assert f"\n  URI   {no_daemon}\n  here  {here}" in done.stdout
        documents = json_of(virt_ova("targets", "--json", LIBVIRT_DEFAULT_URI=no_daemon))["targets"]
        folder, vsphere, libvirt = documents
        assert (vsphere["name"], vsphere["schemes"], vsphere["problem"]) == ("vsphere", ["esx", "vpx"], "")
        assert (vsphere["uri"], vsphere["unreachable"]) == ("", "")
        assert (
            "\n  here  ready for a host that --connect names, as esx://root@esx.example/; can export\n" in done.stdout
        )
        assert "; cannot export\n" in done.stdout
        assert [each["exports"] for each in documents] == [False, True, False]
        assert (folder["name"], folder["schemes"], folder["problem"]) == ("dir", ["dir"], "")
        assert folder["virt_types"] == ["qemu"]
        assert (libvirt["name"], libvirt["schemes"]) == ("libvirt", ["qemu", "test", "xen"])
        assert (libvirt["problem"], libvirt["uri"], libvirt["virt_types"]) == ("", no_daemon, [])
        assert libvirt["unreachable"].startswith(f"connecting to '{no_daemon}' failed: ")

    def test_secrets_are_not_shown(self, tmp_path: Path) -> None:
        product = (
            '<ProductSection><Info>Setup</Info><Property ovf:key="pw" ovf:type="string" ovf:password="true" '
            'ovf:value="hunter2" ovf:userConfigurable="true"/><Property ovf:key="host" ovf:type="string" '
            'ovf:value="web" ovf:userConfigurable="true"/></ProductSection></VirtualSystem>'
        )
        ova = build_ova(tmp_path / "a.ova", edited(small_members(), "</VirtualSystem>", product))
        target = f"dir:{tmp_path}/m"
        runs = (("inspect", ova), ("plan", ova, "-c", target), ("install", ova, "-c", target), ("verify", ova))
        for words in runs:
            for more in ([], ["--json"]):
                done = virt_ova(*words, *more)
                assert "hunter2" not in done.stdout + done.stderr
        text = virt_ova("inspect", ova).stdout
        assert "properties\n  pw    string  (hidden)\n  host  string  web\n" in text
        files = [path for path in (tmp_path / "m").rglob("*") if path.is_file()]
        assert [path.name for path in files if b"hunter2" in path.read_bytes()] == ["vm-ovfenv.iso"]

    def test_text_of_a_package_controls_no_terminal(self, tmp_path: Path) -> None:
        ova = build_ova(tmp_path / "a.ova", edited(small_members(), "A net", "\u009b31m\u202eevil"))
        assert "  VM Network  \\x9b31m\\u202eevil\n" in virt_ova("inspect", ova).stdout
        as_json = virt_ova("inspect", ova, "--json")
        assert as_json.stdout.isascii()
        assert json_of(as_json)["networks"][0]["description"] == "\u009b31m\u202eevil"

    def test_a_locale_that_lacks_letters_spoils_nothing(self, tmp_path: Path) -> None:
        ova = build_ova(tmp_path / "a.ova", edited(small_members(), "A net", "Netz für 漢字"))
        done = virt_ova("inspect", ova, PYTHONIOENCODING="ascii")
        assert (done.returncode, "  VM Network  Netz f\\xfcr \\u6f22\\u5b57\n" in done.stdout) == (0, True)
        assert json_of(virt_ova("plan", ova, "-c", "dir:m", PYTHONIOENCODING="ascii"))["version"] == 1

    @pytest.mark.parametrize("verb", ["disks", "inspect", "descriptor", "verify", "targets", "plan"])
    def test_json_is_one_document_also_on_failure(self, verb: str, tmp_path: Path) -> None:
        words = (verb,) if verb == "targets" else (verb, tmp_path / "none.ova")
        done = virt_ova(*words, "--json", LIBVIRT_DEFAULT_URI="dir:m")
        document = json_of(done)
        if verb == "targets":
            assert (done.returncode, list(document)) == (0, ["targets"])
        else:
            message = f"'{tmp_path}/none.ova' cannot be opened: No such file or directory"
            hint = "Check the path and its permissions."
            assert document == {"error": {"code": "E_SOURCE_OPEN", "message": message, "hint": hint}}
            assert (done.returncode, done.stderr) == (1, error_lines("E_SOURCE_OPEN", message, hint))

    @pytest.mark.parametrize(
        "verb", ["inspect", "disks", "descriptor", "verify", "plan", "install", "convert", "targets"]
    )
    def test_help(self, verb: str) -> None:
        done = virt_ova(verb, "--help", COLUMNS="200")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"usage: virt-ova {verb} [-h] [--json]")

    def test_the_help_and_the_version(self) -> None:
        assert re.search(r"\n    install +install a package\n", virt_ova("--help").stdout)
        assert virt_ova("--version").stdout == f"virt-ova {version('virt-ova')}\n"

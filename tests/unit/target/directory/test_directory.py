"""What only the folder target has: its URIs, its files, its script."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.build.dead_end import dead_end
from tests.build.plans import machine, plan, talking_boot_sector, transfer
from virt_ova.errors import TargetError
from virt_ova.plan.inputs import Backing
from virt_ova.plan.machine import FirmwareKind, Machine
from virt_ova.target.directory import DRIVER
from virt_ova.target.directory import driver as module
from virt_ova.target.directory.domain import FolderDomain, running_pid, stop
from virt_ova.target.directory.driver import DirectoryTarget
from virt_ova.target.directory.folder import MachineFolder
from virt_ova.target.directory.script import run_script
from virt_ova.text import quoted

SIZE = 1 << 20


def installed(folder: Path, one: Machine | None = None, *, content: bytes = b"x") -> FolderDomain:
    target, one = DirectoryTarget(folder), one or machine()
    target.check(plan(one), {"disk1": SIZE})
    volume = target.create_volume(transfer(), SIZE)
    volume.sink.write_at(0, [content])
    volume.sink.finish(SIZE)
    return target.define(one, {"disk1": volume})


@pytest.mark.parametrize("form", ["dir:{}", "dir://{}"])
def test_both_forms_name_the_same_folder(tmp_path: Path, form: str) -> None:
    target = DRIVER.open(form.format(tmp_path / "new folder"))
    assert target.path == tmp_path / "new folder"
    assert target.uri == f"dir:{tmp_path}/new folder"
    assert not target.path.exists()
    assert target.findings == ()
    target.close()


def test_a_relative_folder_is_that_of_the_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert DRIVER.open("dir:a/b").path == tmp_path / "a/b"
    assert DRIVER.open("dir:~/b").path == Path("/home/someone/b")


@pytest.mark.parametrize("uri", ["dir:", "dir://host/x", "dir://", "dir:/a\0b"])
def test_no_folder_is_refused(uri: str) -> None:
    with pytest.raises(TargetError, match=r"names no folder, expected dir:PATH or dir:///PATH$") as caught:
        DRIVER.open(uri)
    assert caught.value.code == "E_CONNECT"


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TargetError, match=r"file' is not a folder$") as caught:
        DRIVER.open(f"dir:{tmp_path}/file")
    assert caught.value.code == "E_CONNECT"


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("n" * 300, "File name too long"),
        ("~nobody-has-this-name/m", "Could not determine home directory"),
        ("loop/m", "Too many levels of symbolic links"),
        ("file/m", "Not a directory"),
        ("a\x1bb", "its path has control characters or is not UTF-8, and domain.xml has to name it"),
    ],
)
def test_a_folder_that_cannot_be_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, problem: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TargetError) as caught:
        DRIVER.open(f"dir:{path}")
    shown = quoted(str(tmp_path / path) if "\x1b" in path else path)
    assert (caught.value.code, caught.value.message) == ("E_CONNECT", f"the folder {shown} cannot be used: {problem}")


def test_a_folder_below_one_that_may_not_be_entered_is_refused() -> None:
    with dead_end() as folder, pytest.raises(TargetError) as caught:
        DRIVER.open(f"dir:{folder}/m")
    error = caught.value
    assert (error.code, error.message) == ("E_CONNECT", f"the folder '{folder}/m' cannot be used: Permission denied")


def test_a_folder_relative_to_one_that_is_gone_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(TargetError) as caught:
        DRIVER.open("dir:m")
    error = caught.value
    assert (error.code, error.message) == (
        "E_CONNECT",
        "the folder 'm' cannot be used: No such file or directory",
    )


@pytest.mark.parametrize("name", ["run", "domain.xml", "efi-vars.fd", "qemu.pid", "serial.log", "QEMU.PID"])
def test_an_image_cannot_have_the_name_of_a_file_of_the_machine(tmp_path: Path, name: str) -> None:
    with pytest.raises(TargetError) as caught:
        DirectoryTarget(tmp_path).check(plan(machine(), transfer(name)), {"disk1": SIZE})
    message = f"the image name '{name}' cannot be used, a machine's folder has a file of that name"
    assert (caught.value.code, caught.value.message) == ("E_NAME", message)
    assert caught.value.hint == "Change image_name in the plan."


def test_a_machine_is_a_private_folder_with_everything_in_it(tmp_path: Path) -> None:
    domain = installed(tmp_path / "deep" / "machines")
    box = tmp_path / "deep/machines/box"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (box, *box.iterdir())}
    assert modes == {"box": 0o700, "box-disk1.raw": 0o600, "domain.xml": 0o600, "run": 0o700}
    described = ET.parse(box / "domain.xml").getroot()  # noqa: S314 - our own
    assert described.findtext("uuid") == domain.uuid
    source = described.find("devices/disk/source")
    assert source is not None
    assert source.get("file") == str(box / "box-disk1.raw")


def test_efi_variables_are_the_machines_own(tmp_path: Path) -> None:
    installed(tmp_path, machine(chipset="q35", firmware=FirmwareKind.EFI))
    variables = tmp_path / "box/efi-vars.fd"
    assert stat.S_IMODE(variables.stat().st_mode) == 0o600
    assert variables.read_bytes() == Path("/usr/share/OVMF/OVMF_VARS_4M.fd").read_bytes()
    assert "file=efi-vars.fd" in (tmp_path / "box/run").read_text()


def test_missing_firmware_is_told_before_the_first_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_firmware", lambda *_args, **_kwargs: None)
    target = DirectoryTarget(tmp_path)
    with pytest.raises(TargetError, match=r"^no EFI firmware for q35 is installed here$") as caught:
        target.check(plan(machine(chipset="q35", firmware=FirmwareKind.EFI)), {})
    assert (caught.value.code, caught.value.hint) == ("E_FIRMWARE", "Install it: apt install ovmf")
    assert target.capabilities.firmware == {FirmwareKind.BIOS}
    assert not target.capabilities.secure_boot


def test_an_image_for_no_machine_is_refused(tmp_path: Path) -> None:
    target = DirectoryTarget(tmp_path)
    with pytest.raises(TargetError, match=r"^the image 'box-disk1.raw' is for no machine of the plan") as caught:
        target.check(plan(machine(transfer="")), {})
    assert caught.value.code == "E_PLAN_SOURCE"


def test_a_definition_that_fails_midway_takes_its_files_away(tmp_path: Path) -> None:
    target = DirectoryTarget(tmp_path)
    target.check(plan(machine()), {})
    volume = target.create_volume(transfer(), SIZE)
    (tmp_path / "box/run").write_text("foreign")
    with pytest.raises(TargetError, match=r"run' exists already$"):
        target.define(machine(), {"disk1": volume})
    assert {path.name for path in (tmp_path / "box").iterdir()} == {"box-disk1.raw", "run"}
    assert (tmp_path / "box/run").read_text() == "foreign"


def test_foreign_files_stay_with_their_folder(tmp_path: Path) -> None:
    domain = installed(tmp_path)
    (tmp_path / "box/notes").write_text("mine")
    domain.discard()
    assert {path.name for path in (tmp_path / "box").iterdir()} == {"box-disk1.raw", "notes"}


def test_folders_above_are_made_and_removed(tmp_path: Path) -> None:
    folder = MachineFolder.make(tmp_path / "a/b/box")
    assert folder.is_ours
    folder.release()
    assert not folder.is_ours
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_leaves_none(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"could not be made: File name too long$") as caught:
        MachineFolder.make(tmp_path / "a" / ("x" * 300))
    assert caught.value.code == "E_IO"
    assert list(tmp_path.iterdir()) == []


def test_the_script_quotes_and_passes_arguments_on(tmp_path: Path) -> None:
    script = tmp_path / "run"
    script.write_text(run_script("a\nb", ["printf", "[%s]", "-x", "it's $HOME", "-y"]))
    script.chmod(0o700)
    plain = subprocess.run([script], capture_output=True, text=True, check=True, cwd="/")
    assert plain.stdout == "[-x][it's $HOME][-y]"
    more = subprocess.run([script, "--", "-m", "a b"], capture_output=True, text=True, check=True)
    assert more.stdout == "[-x][it's $HOME][-y][-m][a b]"
    assert "# Runs the machine a\\nb." in script.read_text()


def test_the_script_runs_in_its_own_folder_however_it_is_called(tmp_path: Path) -> None:
    folder, other = tmp_path / "-m" / "it's", tmp_path / "other" / "-m" / "it's"
    folder.mkdir(parents=True)
    other.mkdir(parents=True)
    script = folder / "run"
    script.write_text(run_script("box", ["pwd"]).replace(' \\\n    "$@"', ""))
    script.chmod(0o700)
    (tmp_path / "link").symlink_to("-m/it's/run")
    (tmp_path / "linked").symlink_to("-m")
    searched = {**os.environ, "CDPATH": str(tmp_path / "other")}
    for called in ("./-m/it's/run", "linked/it's/run", "./link", str(script)):
        done = subprocess.run([called], capture_output=True, text=True, check=True, cwd=tmp_path, env=searched)
        assert done.stdout == f"{folder}\n"
    by_shell = ["sh", "--", "-m/it's/run"]
    done = subprocess.run(by_shell, capture_output=True, text=True, check=True, cwd=tmp_path, env=searched)
    assert done.stdout == f"{folder}\n"


def test_what_is_closed_for_the_script_is_no_file_of_the_machine(tmp_path: Path) -> None:
    script = tmp_path / "run"
    look = "import os; seen = [os.readlink(f'/dev/fd/{n}') for n in (0, 1, 2)]; open('seen', 'w').writelines(seen)"
    script.write_text(run_script("box", [sys.executable, "-c", look]))
    script.chmod(0o700)
    done = subprocess.run(["sh", "-c", 'exec "$0" <&- >&- 2>&-', script], capture_output=True, text=True, check=True)
    assert (tmp_path / "seen").read_text() == "/dev/null" * 3
    assert (done.stdout, done.stderr) == ("", "")


def test_the_script_runs_the_machine_on_this_terminal(tmp_path: Path) -> None:
    installed(tmp_path, content=talking_boot_sector(b"box login: "))
    shutil.move(tmp_path / "box", tmp_path / "moved elsewhere")
    with subprocess.Popen([tmp_path / "moved elsewhere/run", "-no-reboot"], stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.read(11) == b"box login: "
        running.terminate()


def test_a_started_machine_runs_until_it_is_discarded(tmp_path: Path) -> None:
    domain = installed(tmp_path)
    assert running_pid(tmp_path / "box") is None
    domain.start()
    pid = running_pid(tmp_path / "box")
    assert pid is not None
    assert b"guest=box" in Path(f"/proc/{pid}/cmdline").read_bytes()
    domain.discard()
    assert running_pid(tmp_path / "box") is None
    assert {path.name for path in (tmp_path / "box").iterdir()} == {"box-disk1.raw"}


def test_a_machine_that_does_not_start_says_why(tmp_path: Path) -> None:
    domain = installed(tmp_path, machine(chipset="no-such-board"))
    with pytest.raises(TargetError, match=r"^the machine 'box' does not start: .*unsupported machine type") as caught:
        domain.start()
    assert caught.value.code == "E_START"


def test_a_stale_process_file_names_nobody(tmp_path: Path) -> None:
    (tmp_path / "qemu.pid").write_text(f"{os.getpid()}\n")
    assert running_pid(tmp_path) is None
    stop(tmp_path)


def test_capabilities_say_what_qemu_can(tmp_path: Path) -> None:
    capabilities = DirectoryTarget(tmp_path).capabilities
    assert capabilities.virt_types[-1] == "qemu"
    assert capabilities.networks == ()
    assert capabilities.has_device("e1000")
    assert not capabilities.has_device("buslogic")


def test_without_qemu_a_folder_still_takes_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EMULATOR", "no-such-emulator")
    capabilities = DirectoryTarget(tmp_path).capabilities
    assert capabilities.virt_types == ("qemu",)
    assert capabilities.devices == frozenset()


def linked_script(folder: Path, package: Path) -> Path:
    """A script that says ``runs`` if `package` is as it is now."""
    status = package.stat()
    backing = Backing(
        path=str(package),
        size_bytes=status.st_size,
        modified_ns=status.st_mtime_ns,
        member="disk1.vmdk",
        image_format="vmdk",
        offset=512,
        length=512,
    )
    script = folder / "run"
    script.write_text(run_script("box", ["echo", "runs"], [backing, backing]))
    script.chmod(0o700)
    return script


@pytest.fixture
def linked_package(tmp_path: Path) -> Path:
    package = tmp_path / 'it\'s a "package", $HOME.ova'
    package.write_bytes(b"x" * 2048)
    os.utime(package, ns=(0, 1_700_000_000_012_345_678))
    return package


def said(script: Path) -> tuple[int, str, str]:
    done = subprocess.run([script], capture_output=True, text=True, check=False, env={"PATH": os.defpath, "LANG": "C"})
    return done.returncode, done.stdout, done.stderr


def test_a_linked_machine_runs_while_its_package_is_as_it_was(tmp_path: Path, linked_package: Path) -> None:
    script = linked_script(tmp_path, linked_package)
    assert said(script) == (0, "runs\n", "")
    linked_package.chmod(0o400)
    assert said(script) == (0, "runs\n", "")
    assert script.read_text().count("\ncheck '") == 1


def test_a_missing_package_is_told_before_the_machine_runs(tmp_path: Path, linked_package: Path) -> None:
    script = linked_script(tmp_path, linked_package)
    linked_package.rename(tmp_path / "elsewhere.ova")
    status, output, errors = said(script)
    assert (status, output) == (1, "")
    assert errors.splitlines()[-1] == (
        f"run: the package {linked_package} is missing, and disks of this machine lie on it: put it back"
    )


@pytest.mark.parametrize(
    ("size", "modified_ns", "found"),
    [
        (2049, 1_700_000_000_012_345_678, "2049 1700000000.012345678"),
        (2048, 1_700_000_000_012_345_679, "2048 1700000000.012345679"),
    ],
)
def test_a_changed_package_is_told_before_the_machine_runs(
    tmp_path: Path, linked_package: Path, size: int, modified_ns: int, found: str
) -> None:
    script = linked_script(tmp_path, linked_package)
    os.truncate(linked_package, size)
    os.utime(linked_package, ns=(0, modified_ns))
    status, output, errors = said(script)
    assert (status, output) == (1, "")
    assert errors.splitlines() == [
        f"run: the package {linked_package} has changed, and disks of this machine lie on it:",
        f"run: found size and time {found}, expected 2048 1700000000.012345678",
        "run: put the former file back, with its time (touch --date=@1700000000.012345678), or install again",
    ]
    os.truncate(linked_package, 2048)
    subprocess.run(["touch", "--date=@1700000000.012345678", linked_package], check=True)
    assert said(script) == (0, "runs\n", "")


def test_a_signal_while_qemu_starts_waits_until_it_can_be_found(tmp_path: Path) -> None:
    domain = FolderDomain(
        MachineFolder.make(tmp_path / "box"), uuid="", made=[], command=["sh", "-c", "sleep 0.5; : > started"]
    )
    before = signal.getsignal(signal.SIGALRM), signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    with pytest.raises(KeyboardInterrupt):
        domain.watch(60)
    signal.signal(signal.SIGALRM, before[0])
    assert (tmp_path / "box" / "started").exists()
    assert signal.getsignal(signal.SIGINT) is before[1]

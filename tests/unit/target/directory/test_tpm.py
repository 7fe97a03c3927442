"""The TPM of a machine in a folder: its files, and that swtpm is there when QEMU is, and only then."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.build.plans import machine, plan, talking_boot_sector, transfer
from tests.build.swtpm import assert_tpm_ends, tpm_processes
from virt_ova.errors import PlanError, TargetError
from virt_ova.plan.machine import Machine
from virt_ova.target.directory.domain import FolderDomain, running_pid
from virt_ova.target.directory.driver import DirectoryTarget
from virt_ova.target.directory.tpm import make_tpm
from virt_ova.target.record import Record, Removal

WITH_TPM = replace(machine(), has_tpm=True)
SIZE = 1 << 20


def installed(folder: Path, one: Machine = WITH_TPM) -> FolderDomain:
    """The machine ``box`` in `folder`, which says ``up`` on its console."""
    target = DirectoryTarget(folder)
    target.check(plan(one), {"disk1": SIZE})
    volume = target.create_volume(transfer(), SIZE)
    volume.sink.write_at(0, [talking_boot_sector(b"up\n")])
    volume.sink.finish(SIZE)
    return target.define(one, {"disk1": volume})


def started(box: Path, *, given: str = "</dev/null") -> subprocess.Popen[bytes]:
    """The script of the machine in `box`, whose guest is up; the shell gives it `given` for standard input."""
    running = subprocess.Popen(["sh", "-c", f'exec "$0" {given}', box / "run"], stdout=subprocess.PIPE)
    assert running.stdout is not None
    assert running.stdout.readline() == b"up\n"
    return running


def test_a_folder_offers_a_tpm(tmp_path: Path) -> None:
    assert DirectoryTarget(tmp_path).capabilities.tpm


def test_without_swtpm_a_tpm_is_refused_before_there_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for program in ("qemu-system-x86_64", "setpriv"):
        (bin_folder / program).symlink_to(shutil.which(program) or pytest.fail(program))
    monkeypatch.setenv("PATH", str(bin_folder))
    target = DirectoryTarget(tmp_path / "machines")
    assert not target.capabilities.tpm
    with pytest.raises(PlanError) as caught:
        target.check(plan(WITH_TPM), {"disk1": SIZE})
    assert (caught.value.code, caught.value.hint) == ("E_PLAN_HARDWARE", "Install it: apt install swtpm")
    assert str(caught.value) == "'box' has a TPM, and none can be emulated here, expected the program swtpm"
    assert not (tmp_path / "machines").exists()


def test_its_secrets_are_private_and_go_with_the_machine(tmp_path: Path) -> None:
    domain = installed(tmp_path)
    secrets = tmp_path / "box/tpm"
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert list(secrets.iterdir()) == []
    domain.start()
    assert (secrets / "tpm2-00.permall").exists()
    domain.discard()
    assert [path.name for path in (tmp_path / "box").iterdir()] == ["box-disk1.raw"]


def test_a_try_has_one_of_its_own(tmp_path: Path) -> None:
    target = DirectoryTarget(tmp_path)
    target.check(plan(WITH_TPM), {"disk1": SIZE})
    volume = target.create_volume(transfer(), SIZE)
    volume.sink.finish(SIZE)
    trial = target.define_trial(WITH_TPM, {"disk1": volume})
    trial.watch_disk(0)
    assert len(tpm_processes(tmp_path / "box")) == 1
    trial.discard()
    assert [path.name for path in (tmp_path / "box").iterdir()] == ["box-disk1.raw"]
    target.define(WITH_TPM, {"disk1": volume})
    assert list((tmp_path / "box/tpm").iterdir()) == []


def test_what_a_killed_install_left_of_it_is_removed(tmp_path: Path) -> None:
    target, box = DirectoryTarget(tmp_path), tmp_path / "box"
    records: dict[str, Record] = {}
    target.tell(lambda record: records.update({record.kind: record}))
    target.check(plan(WITH_TPM), {"disk1": SIZE})
    volume = target.create_volume(transfer(), SIZE)
    volume.sink.finish(SIZE)
    target.define(WITH_TPM, {"disk1": volume}).start()
    assert len(tpm_processes(box)) == 1
    assert DirectoryTarget(tmp_path).remove(records["machine"]) is Removal.REMOVED
    assert_tpm_ends(box)
    assert {path.name for path in box.iterdir()} == {"box-disk1.raw", "domain.xml", "run"}
    make_tpm(box)
    assert DirectoryTarget(tmp_path).remove(records["machine"]) is Removal.REMOVED
    assert DirectoryTarget(tmp_path).remove(records["machine"]) is Removal.ABSENT
    assert {path.name for path in box.iterdir()} == {"box-disk1.raw", "domain.xml", "run"}


def test_a_folder_of_someone_else_stays(tmp_path: Path) -> None:
    made = make_tpm(tmp_path)
    assert made.what == f"folder {tmp_path}/tpm"
    (tmp_path / "tpm").rename(tmp_path / "moved")
    (tmp_path / "tpm").mkdir()
    made.discard()
    assert (tmp_path / "tpm").exists()
    (tmp_path / "tpm").rmdir()
    made.discard()
    with pytest.raises(TargetError, match=r"moved/tpm' could not be made: No such file or directory$"):
        make_tpm(tmp_path / "moved" / "tpm" / "moved")


def test_no_image_can_have_its_name(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"^the image name 'tpm' cannot be used"):
        DirectoryTarget(tmp_path).check(plan(WITH_TPM, transfer("tpm")), {})


@pytest.mark.parametrize("name", ["a=b, c", "long" * 30], ids=["odd", "long"])
def test_in_the_background_it_ends_with_qemu(tmp_path: Path, name: str) -> None:
    box = tmp_path / name / "box"
    domain = installed(box.parent)
    domain.start()
    assert len(tpm_processes(box)) == 1
    pid = running_pid(box)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert_tpm_ends(box)
    domain.start()
    assert len(tpm_processes(box)) == 1
    domain.discard()
    assert_tpm_ends(box)


def test_it_ends_when_qemu_does_not_start(tmp_path: Path) -> None:
    domain = installed(tmp_path, replace(WITH_TPM, chipset="no-such-board"))
    with pytest.raises(TargetError, match=r"^the machine 'box' does not start: .*unsupported machine type") as caught:
        domain.start()
    assert caught.value.code == "E_START"
    assert_tpm_ends(tmp_path / "box")


def test_a_tpm_that_does_not_start_is_told(tmp_path: Path) -> None:
    domain = installed(tmp_path)
    (tmp_path / "box/tpm.sock").mkdir()
    with pytest.raises(TargetError, match=r"^the machine 'box' does not start: swtpm ") as caught:
        domain.start()
    assert caught.value.code == "E_START"
    assert running_pid(tmp_path / "box") is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_from_the_script_it_ends_with_qemu(tmp_path: Path, number: signal.Signals) -> None:
    installed(tmp_path / "made")
    box = Path(shutil.move(tmp_path / "made/box", tmp_path / f"moved, {'far' * 30}"))
    for _ in range(2):
        with started(box) as running:
            assert len(tpm_processes(box)) == 1
            running.send_signal(number)
        assert_tpm_ends(box)


def test_the_script_leaves_none_when_qemu_does_not_start(tmp_path: Path) -> None:
    installed(tmp_path)
    done = subprocess.run([tmp_path / "box/run", "-no-such-option"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "invalid option" in done.stderr
    assert_tpm_ends(tmp_path / "box")


def test_the_script_says_when_there_is_no_tpm(tmp_path: Path) -> None:
    installed(tmp_path)
    (tmp_path / "box/tpm.sock").mkdir()
    done = subprocess.run([tmp_path / "box/run"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith("\nrun: swtpm, which emulates the TPM of this machine, does not start\n")
    assert_tpm_ends(tmp_path / "box")


def test_a_machine_runs_when_standard_input_is_closed(tmp_path: Path) -> None:
    installed(tmp_path)
    with started(tmp_path / "box", given="<&-") as running:
        standard_input = Path(f"/proc/{running.pid}/fd/0").readlink()
        running.terminate()
    assert standard_input == Path("/dev/null")
    assert_tpm_ends(tmp_path / "box")


RUNS_ALREADY = "run: this machine runs already, its TPM is in use: shut it down first\n"


def run_once_more(box: Path) -> tuple[int, str, str]:
    """What becomes of the script of the machine in `box`, which runs already."""
    done = subprocess.run([box / "run"], capture_output=True, text=True, check=False, timeout=20)
    return done.returncode, done.stdout, done.stderr


def traces(box: Path) -> tuple[list[int], dict[str, int]]:
    """The processes of the TPM of the machine in `box`, and which files there are."""
    return tpm_processes(box), {path.name: path.lstat().st_ino for path in box.iterdir()}


def test_a_second_run_is_refused_and_leaves_the_first_alone(tmp_path: Path) -> None:
    domain = installed(tmp_path)
    box = tmp_path / "box"
    with started(box) as running:
        try:
            before = traces(box)
            assert {"tpm.pid", "tpm.sock"} <= before[1].keys()
            assert run_once_more(box) == (1, "", RUNS_ALREADY)
            with pytest.raises(TargetError) as caught:
                domain.start()
            assert (traces(box), running.poll()) == (before, None)
        finally:
            running.terminate()
    assert str(caught.value) == "the machine 'box' does not start: it runs already, its TPM is in use"
    assert (caught.value.code, caught.value.hint) == ("E_START", "Shut it down first.")
    assert_tpm_ends(box)


def test_what_runs_in_the_background_is_not_run_once_more(tmp_path: Path) -> None:
    domain = installed(tmp_path)
    box = tmp_path / "box"
    domain.start()
    try:
        before = traces(box)
        assert run_once_more(box) == (1, "", RUNS_ALREADY)
        assert traces(box) == before
    finally:
        domain.discard()


def test_a_folder_that_holds_no_lock_is_told(tmp_path: Path) -> None:
    domain = installed(tmp_path)
    (tmp_path / "box/tpm/run.lock").mkdir()
    with pytest.raises(TargetError, match=r"tpm/run.lock' could not be examined: Is a directory$") as caught:
        domain.start()
    assert caught.value.code == "E_IO"

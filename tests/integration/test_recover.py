"""Installs that were killed, and what is done about them afterwards."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import virt_ova
from tests.build.asking import SECRET, asking_ova
from tests.build.command import command, environment, error_lines, json_of
from tests.build.command import virt_ova as run
from tests.build.disks import guest_bytes
from tests.build.faults import run_failing
from tests.build.killed import Executioner, stuck
from tests.build.ova import build_ova, with_manifest
from tests.build.small import edited, is_installed, listing, small_disk, small_members, small_ova, small_vmdk
from tests.build.swtpm import assert_tpm_ends, tpm_processes
from virt_ova.plan.codec import to_json
from virt_ova.stories.logbook import logbooks
from virt_ova.stories.recover import Outcome, RecoveredInstall
from virt_ova.target.directory.domain import running_pid, stop
from virt_ova.text import printable

JOURNAL_HINT = "Name a folder of your own in XDG_STATE_HOME, or correct that one."


@pytest.fixture
def ova(tmp_path: Path) -> Path:
    return small_ova(tmp_path / "a.ova")


@pytest.fixture
def state(state_home: Path) -> Path:
    """The folder of the journals; empty."""
    folder = state_home / "virt-ova"
    assert listing(folder) == []
    return folder


def plan_of(ova: Path) -> str:
    with virt_ova.open_package(ova) as package:
        return to_json(virt_ova.plan(package))


def recovered() -> RecoveredInstall | None:
    """What became of the one install, or none, that was killed."""
    installs = virt_ova.recover()
    assert virt_ova.recover() == ()
    assert len(installs) < 2
    return installs[0] if installs else None


class TestKilled:
    """At every system call that changes something: all or nothing, and nothing else is touched."""

    @pytest.mark.parametrize(("has_folder", "stride"), [(False, 3), (True, 7)])
    def test_an_install_in_a_folder(
        self, ova: Path, state: Path, request: pytest.FixtureRequest, *, has_folder: bool, stride: int
    ) -> None:
        machines = ova.parent / "m"
        if has_folder:
            (machines / "other").mkdir(parents=True)
        before = listing(ova.parent)
        outcomes = []
        with Executioner(ova, f"dir:{machines}", plan=plan_of(ova)) as executioner:
            number = 0
            while executioner.run(number):
                install = recovered()
                outcomes.append(install.outcome if install else None)
                if install and install.outcome is Outcome.FINISHED:
                    break  # the only moments behind this one are those of the journal's end
                assert listing(ova.parent) == before, number
                assert install is None or (install.left, install.foreign) == ((), ()), number
                number += 1 if request.config.getoption("--long") else stride
        assert number > 60
        assert outcomes[-1] is Outcome.FINISHED
        assert set(outcomes[:-1]) == {None, Outcome.UNDONE}
        assert listing(state) == []
        if not has_folder:
            assert is_installed(machines)

    def test_a_conversion(self, ova: Path, state: Path, request: pytest.FixtureRequest) -> None:
        image = ova.parent / "d.qcow2"
        outcomes = []
        with Executioner(ova, str(image)) as executioner:
            number = 0
            while executioner.run(number):
                file = recovered()
                outcomes.append(file.outcome if file else None)
                if file and file.outcome is Outcome.FINISHED:
                    break
                assert listing(ova.parent) == ["a.ova"], number
                assert file is None or (file.left, file.foreign, file.target) == ((), (), image.as_uri()), number
                number += 1 if request.config.getoption("--long") else 2
        assert number > 20
        assert outcomes[-1] is Outcome.FINISHED
        assert set(outcomes[:-1]) == {None, Outcome.UNDONE}
        assert (listing(state), guest_bytes(image)) == ([], small_disk())

    def test_a_recovery(self, ova: Path, state: Path) -> None:
        """It may be killed as well, at any moment, and run again."""
        machines = ova.parent / "m"
        with Executioner(ova, f"dir:{machines}", plan=plan_of(ova)) as executioner:
            late = executioner.count() - 10
            shutil.rmtree(machines)
            number, was_killed = 0, True
            while was_killed:
                assert executioner.run(late)
                assert len(listing(machines)) == 4
                was_killed = executioner.recover(number)
                recovered()
                assert (listing(ova.parent), listing(state)) == (["a.ova"], []), number
                number += 3
        assert number > 20


def killed(ova: Path, machines: Path) -> None:
    """An install that was killed when its image was whole."""
    with stuck(ova, "-c", f"dir:{machines}"):
        assert listing(machines) == ["vm", "vm/vm-disk1.qcow2"]


class TestCommand:
    def test_it_tells_what_it_removed(self, ova: Path, state: Path) -> None:
        machines = ova.parent / "m"
        killed(ova, machines)
        done = run("recover")
        assert done.stderr == (
            f"Removed file {machines}/vm/vm-disk1.qcow2\nRemoved folder {machines}/vm\nRemoved folder {machines}\n"
        )
        assert done.stdout.startswith(f"Undone: vm on dir:{machines}, begun 20")
        assert (done.returncode, listing(ova.parent), listing(state)) == (0, ["a.ova"], [])
        again = run("recover")
        assert (again.stdout, again.stderr, again.returncode) == ("Nothing to recover\n", "", 0)

    def test_as_json(self, ova: Path, state: Path) -> None:
        machines = ova.parent / "m"
        killed(ova, machines)
        (journal,) = state.iterdir()
        done = run("recover", "--json")
        (install,) = json_of(done)["installs"]
        assert install.pop("begun")
        assert install == {
            "journal": str(journal),
            "target": f"dir:{machines}",
            "package": "a.ova",
            "machines": ["vm"],
            "outcome": "undone",
            "removed": [f"file {machines}/vm/vm-disk1.qcow2", f"folder {machines}/vm", f"folder {machines}"],
            "foreign": [],
            "left": [],
        }

    def test_a_conversion(self, ova: Path, state: Path) -> None:
        image = ova.parent / "my d.qcow2"
        with stuck(ova, image, verb="convert"):
            assert image.stat().st_size > 0
        done = run("convert", ova, image.name, cwd=ova.parent)
        hint = "Choose another name, or remove what is there. A run that made it was killed there: 'virt-ova recover' "
        error = error_lines("E_EXISTS", f"'{image.name}' exists already", f"{hint}takes back what it made.")
        assert (done.stderr, done.returncode) == (error, 1)
        assert run("recover", "-c", f"dir:{ova.parent}").stdout == "Nothing to recover\n"
        done = run("recover")
        assert done.stderr == f"Removed file {image}\n"
        assert done.stdout.startswith(f"Undone: {image.as_uri()}, begun 20")
        assert (done.returncode, listing(ova.parent), listing(state)) == (0, ["a.ova"], [])

    @pytest.mark.parametrize("name", ["\udcff.ova", "a\nb.ova"])
    def test_a_package_whose_name_is_no_text(self, ova: Path, state: Path, name: str) -> None:
        odd = ova.rename(ova.with_name(name))
        with stuck(odd, odd.with_suffix(".raw"), verb="convert"):
            pass
        killed(odd, odd.parent / "m")
        done = run("recover", "--json")
        assert [each["package"] for each in json_of(done)["installs"]] == [printable(name)] * 2
        assert (done.returncode, listing(state)) == (0, [])
        assert run("install", odd, "-c", f"dir:{odd.parent}/m").returncode == 0
        assert is_installed(odd.parent / "m")

    def test_a_conversion_whose_file_was_replaced(self, ova: Path, state: Path) -> None:
        image = ova.parent / "d.qcow2"
        with stuck(ova, image, verb="convert"):
            pass
        image.unlink()
        image.write_text("somebody's")
        done = run("recover", "-c", image.as_uri(), "--json")
        (file,) = json_of(done)["installs"]
        assert (file["target"], file["package"], file["machines"]) == (image.as_uri(), "a.ova", [])
        assert (file["foreign"], file["outcome"], listing(state)) == ([f"file {image}"], "undone", [])
        assert image.read_text() == "somebody's"

    def test_installs_on_another_target_are_left(self, ova: Path, state: Path) -> None:
        machines = ova.parent / "m"
        killed(ova, machines)
        done = run("recover", "-c", f"dir:{ova.parent}/elsewhere")
        assert (done.stdout, done.returncode, len(listing(state))) == ("Nothing to recover\n", 0, 1)
        done = run("recover", "-c", "dir:m", cwd=ova.parent)
        assert (done.returncode, listing(ova.parent), listing(state)) == (0, ["a.ova"], [])

    def test_an_install_that_runs_is_left(self, ova: Path, state: Path) -> None:
        machines = ova.parent / "m"
        with stuck(ova, "-c", f"dir:{machines}") as process:
            assert run("recover").stdout == "Nothing to recover\n"
            process.communicate("", timeout=20)
            assert process.returncode == 0
        assert is_installed(machines)
        assert listing(state) == []

    def test_several_at_once(self, ova: Path, state: Path) -> None:
        (ova.parent / "m").mkdir()
        for name in "abcd":
            with stuck(ova, "-c", f"dir:{ova.parent}/m", "--name", name):
                pass
        with ThreadPoolExecutor(4) as pool:
            done = list(pool.map(lambda _: run("recover", "--json"), range(4)))
        installs = [install for each in done for install in json_of(each)["installs"]]
        assert sorted(install["machines"][0] for install in installs) == ["a", "b", "c", "d"]
        assert {each.returncode for each in done} == {0}
        assert (listing(ova.parent), listing(state)) == (["a.ova", "m"], [])

    @pytest.mark.parametrize("latest", ["one", "two"])
    def test_a_folder_that_several_share(self, ova: Path, state: Path, latest: str) -> None:
        """Whichever made it, and whatever the clock says of them."""
        machines = ova.parent / "m"
        for name in ("one", "two"):
            with stuck(ova, "-c", f"dir:{machines}", "--name", name, images=0):
                pass
        for journal in state.iterdir():
            begun_seconds = 2e9 if f'["{latest}"]' in journal.read_text() else 1e9
            os.utime(journal, (begun_seconds, begun_seconds))
        installs = virt_ova.recover()
        assert {(each.outcome, each.foreign) for each in installs} == {(Outcome.UNDONE, ())}
        removed = {each.machines[0]: each.removed for each in installs}
        assert removed["one"][-1] == f"folder {machines}"
        assert {name: len(each) for name, each in removed.items()} == {"one": 3, "two": 2}
        assert (listing(ova.parent), listing(state)) == (["a.ova"], [])

    def test_what_stays_is_told_and_tried_again(self, ova: Path, state: Path) -> None:
        image = ova.parent / "m" / "vm" / "vm-disk1.qcow2"
        killed(ova, ova.parent / "m")
        (journal,) = state.iterdir()
        refused = ["unlink,unlinkat:error=EPERM"]
        done = run_failing(refused, "recover", only=image)
        head, *lines = done.stdout.splitlines()
        assert head.startswith(f"Something is left: vm on dir:{ova.parent}/m, begun 20")
        assert lines == [
            f"  left alone, because others have it by now: folder {ova.parent}/m/vm",
            f"  left alone, because others have it by now: folder {ova.parent}/m",
            f"  file {image}: '{image}' could not be removed: Operation not permitted",
            f"    hint: rm {image}",
            f"  journal: {journal}",
        ]
        assert (done.stderr, done.returncode) == ("", 3)
        document = json_of(run_failing(refused, "recover", "--json", only=image))["installs"][0]
        message = f"'{image}' could not be removed: Operation not permitted"
        assert document["left"] == [{"object": f"file {image}", "message": message, "hint": f"rm {image}"}]
        assert document["outcome"] == "incomplete"
        assert (run("recover").returncode, listing(ova.parent), listing(state)) == (0, ["a.ova"], [])

    def test_a_name_that_is_taken_by_an_install_that_was_killed(self, ova: Path, state: Path) -> None:
        killed(ova, ova.parent / "m")
        done = run("install", ova, "-c", f"dir:{ova.parent}/m")
        hint = "Choose another name for the machine with --name, or remove that folder."
        more = "An install was killed there: 'virt-ova recover' takes back what it made."
        assert done.stderr == error_lines("E_EXISTS", f"'{ova.parent}/m/vm' exists already", f"{hint} {more}")
        assert len(listing(state)) == 1
        assert run("recover").returncode == 0
        assert run("install", ova, "-c", f"dir:{ova.parent}/m").returncode == 0


class TestRunning:
    """What runs when its install is killed: a trial ends with the recovery, and so does a TPM that nobody came to."""

    @pytest.fixture
    def with_tpm(self, tmp_path: Path) -> Iterator[Path]:
        tpm = "<Item><rasd:ElementName>TPM</rasd:ElementName><rasd:InstanceID>20</rasd:InstanceID>"
        tpm += "<rasd:ResourceSubType>vmware.vtpm</rasd:ResourceSubType><rasd:ResourceType>1</rasd:ResourceType></Item>"
        end = "</VirtualHardwareSection>"
        yield build_ova(tmp_path / "a.ova", with_manifest(edited(small_members(), end, tpm + end)))
        stop(tmp_path / "m" / "vm")

    @pytest.mark.parametrize(
        ("at", "words"),
        [
            ("tpm:start_tpm", ("--start",)),
            ("domain:FolderDomain.start", ("--start",)),
            ("tpm:start_tpm", ("--wait-boot", "60", "--boot-fallback")),
            ("domain:FolderDomain.start", ("--wait-boot", "60", "--boot-fallback")),
        ],
    )
    def test_of_a_folder(self, with_tpm: Path, state: Path, at: str, words: tuple[str, ...]) -> None:
        machines, scratch = with_tpm.parent / "m", with_tpm.parent / "t"
        scratch.mkdir()
        words = ("-c", f"dir:{machines}", "--virt-type", "qemu", "--network", "VM Network=none", *words)
        has_qemu = at.startswith("domain")
        with stuck(
            with_tpm, *words, at=f"virt_ova.target.directory.{at}", PATH=os.environ["PATH"], TMPDIR=str(scratch)
        ):
            assert len(tpm_processes(machines / "vm")) == 1
            pid = running_pid(machines / "vm")
            assert (pid is not None) is has_qemu
        done = run("recover")
        assert (done.returncode, listing(state), listing(scratch)) == (0, [], [])
        if "--start" in words:
            assert done.stdout.startswith("Finished: vm on ")
            assert (running_pid(machines / "vm"), len(tpm_processes(machines / "vm"))) == (pid, has_qemu)
            stop(machines / "vm")
        else:
            assert done.stdout.startswith("Undone: vm on ")
            assert listing(with_tpm.parent) == ["a.ova", "t"]
            assert pid is None or not Path(f"/proc/{pid}/cmdline").read_bytes()
        assert_tpm_ends(machines / "vm")
        assert not (machines / "vm" / "tpm.sock").exists()


class TestForeign:
    """What others made since is left alone."""

    def test_a_file_in_the_place_of_ours(self, ova: Path, state: Path) -> None:
        image = ova.parent / "m" / "vm" / "vm-disk1.qcow2"
        killed(ova, ova.parent / "m")
        image.unlink()
        image.write_text("somebody's")
        done = run("recover")
        assert done.stdout.splitlines()[1:] == [
            f"  left alone, because others have it by now: file {image}",
            f"  left alone, because others have it by now: folder {image.parent}",
            f"  left alone, because others have it by now: folder {ova.parent}/m",
        ]
        assert (done.stderr, done.returncode, image.read_text(), listing(state)) == ("", 0, "somebody's", [])

    def test_the_same_machine_installed_again(self, ova: Path, state: Path) -> None:
        machines = ova.parent / "m"
        killed(ova, machines)
        shutil.rmtree(machines / "vm")
        assert run("install", ova, "-c", f"dir:{machines}").returncode == 0
        assert run("recover").returncode == 0
        assert is_installed(machines)
        assert listing(state) == []

    def test_a_folder_of_that_name(self, ova: Path, state: Path) -> None:
        machines = ova.parent / "m"
        killed(ova, machines)
        (machines / "vm").rename(machines / "moved")
        (machines / "vm").mkdir()
        assert run("recover").returncode == 0
        assert listing(machines) == ["moved", "moved/vm-disk1.qcow2", "vm"]
        assert listing(state) == []


class TestJournal:
    def test_it_is_closed_to_others_from_its_first_byte(self, ova: Path, state: Path) -> None:
        """Whatever the umask is; and its folder is made so, too."""
        home = ova.parent / "home"
        seen = []
        for umask in (0o000, 0o022, 0o077):
            before = os.umask(umask)
            try:
                with stuck(ova, "-c", f"dir:{ova.parent}/m", XDG_STATE_HOME=str(home)):
                    (journal,) = (home / "virt-ova").iterdir()
                    seen.append((journal.stat().st_mode & 0o7777, (home / "virt-ova").stat().st_mode & 0o7777))
            finally:
                os.umask(before)
            shutil.rmtree(home)
            shutil.rmtree(ova.parent / "m")
        assert seen == [(0o600, 0o700)] * 3
        assert listing(state) == []

    @pytest.mark.parametrize(
        ("mode", "owner", "problem"),
        [(0o770, os.geteuid(), "others may write to it"), (0o700, 65534, "it belongs to another user")],
    )
    def test_a_folder_of_others_is_refused(self, ova: Path, mode: int, owner: int, problem: str) -> None:
        folder = ova.parent / "virt-ova"
        folder.mkdir()
        folder.chmod(mode)
        os.chown(folder, owner, -1)
        for words in (["install", ova, "-c", f"dir:{ova.parent}/m"], ["recover"]):
            done = run(*words, XDG_STATE_HOME=str(ova.parent))
            message = f"the journal '{folder}' cannot be used: {problem}"
            assert done.stderr.endswith(error_lines("E_JOURNAL", message, JOURNAL_HINT))
            assert (done.returncode, listing(ova.parent)) == (1, ["a.ova", "virt-ova"])

    def test_a_place_where_nothing_can_be_locked(self, ova: Path, state: Path) -> None:
        done = run_failing(["flock:error=ENOLCK"], "install", ova, "-c", f"dir:{ova.parent}/m")
        message = r"the journal '.*[.]journal' cannot be used: it cannot be locked: No locks available \[E_JOURNAL\]"
        assert re.search(message, done.stderr)
        assert (done.returncode, listing(ova.parent), listing(state)) == (1, ["a.ova"], [])
        killed(ova, ova.parent / "m")
        done = run_failing(["flock:error=ENOLCK"], "recover")
        assert "it cannot be locked: No locks available" in done.stdout
        assert (done.returncode, len(listing(state)), run("recover").returncode) == (3, 1, 0)

    def test_one_that_goes_meanwhile_is_passed_over(self, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in "ab":
            (state / f"{name}.journal").touch(0o600)
        look = Path.lstat

        def look_late(path: Path) -> os.stat_result:
            path.unlink(missing_ok=path.name != "a.journal")
            return look(path)

        monkeypatch.setattr(Path, "lstat", look_late)
        assert list(logbooks()) == []

    def test_a_conversion_needs_no_place(self, ova: Path) -> None:
        done = run("convert", ova, ova.parent / "d.qcow2", XDG_STATE_HOME=f"{ova}/state")
        first, *_ = done.stderr.splitlines()
        told = f"the journal '{ova}/state/virt-ova' cannot be used: Not a directory; if this run is killed, "
        assert first == f"{told}'virt-ova recover' will not know of it"
        assert (done.returncode, guest_bytes(ova.parent / "d.qcow2")) == (0, small_disk())

    def test_a_place_that_cannot_be_written(self, ova: Path) -> None:
        done = run("install", ova, "-c", f"dir:{ova.parent}/m", XDG_STATE_HOME=f"{ova}/state")
        message = f"the journal '{ova}/state/virt-ova' cannot be used: Not a directory"
        assert done.stderr.endswith(error_lines("E_JOURNAL", message, JOURNAL_HINT))
        assert (done.returncode, listing(ova.parent)) == (1, ["a.ova"])

    @pytest.mark.parametrize(
        ("content", "mode", "problem"),
        [
            ('{"heading": {}}\n', 0o600, "its content makes no sense"),
            ("[]\n", 0o600, "its content makes no sense"),
            ('{"magic": {}}\n', 0o600, "its content makes no sense"),
            ("{}\n", 0o600, "its content makes no sense"),
            ('{"heading": {"target": "dir:/x", "version": 2}}\n', 0o600, "its content makes no sense"),
            ("", 0o660, "it is not a file of yours that is closed to others"),
        ],
    )
    def test_one_that_cannot_be_used_keeps_no_other_from_being_recovered(
        self, ova: Path, state: Path, content: str, mode: int, problem: str
    ) -> None:
        killed(ova, ova.parent / "m")
        bad = state / "bad.journal"
        bad.write_text(content)
        bad.chmod(mode)
        done = run("recover")
        assert (done.returncode, listing(ova.parent), listing(state)) == (3, ["a.ova"], ["bad.journal"])
        message = f"  the journal '{bad}' cannot be used: {problem}"
        told = [f"Something is left: {bad}", message, f"    hint: {JOURNAL_HINT}", f"  journal: {bad}"]
        assert done.stdout.splitlines()[:4] == told
        bad.unlink()

    @pytest.mark.parametrize(
        ("target", "kind", "key"),
        [
            ("dir:/x", "file", "{}"),
            ("file:///x", "file", "{}"),
            ("test:///default", "odd", "{}"),
            ("test:///default", "domain", "{}"),
        ],
    )
    def test_an_object_that_makes_no_sense(self, state: Path, target: str, kind: str, key: str) -> None:
        bad = state / "bad.journal"
        bad.touch(0o600)
        heading = f'{{"heading": {{"target": "{target}", "begun": "\\u001b", "version": 1}}}}'
        bad.write_text(f'{heading}\n{{"object": {{"kind": "{kind}", "name": "a\\u001b", "key": {key}}}}}\n')
        done = run("recover")
        made = "" if target.startswith("file:") else "an install on "
        assert done.stdout.splitlines()[:3] == [
            rf"Something is left: {made}{target}, begun \x1b",
            rf"  {kind} a\x1b: the journal tells of it what makes no sense",
            "    hint: Look whether it is there, and remove it by hand.",
        ]
        assert (done.returncode, done.stderr, listing(state)) == (3, "", ["bad.journal"])
        bad.unlink()

    def test_a_line_that_was_not_written_whole_is_passed_over(self, ova: Path, state: Path) -> None:
        killed(ova, ova.parent / "m")
        (journal,) = state.iterdir()
        with journal.open("a") as file:
            file.write('{"object": {"kind": "file", "na')
        assert (run("recover").returncode, listing(ova.parent), listing(state)) == (0, ["a.ova"], [])

    def test_one_that_was_not_begun_goes(self, state: Path) -> None:
        (state / "new.journal").touch(0o600)
        assert (run("recover").stdout, listing(state)) == ("Nothing to recover\n", [])

    def test_a_link_is_not_followed(self, ova: Path, state: Path) -> None:
        (state / "link.journal").symlink_to(ova)
        done = run("recover")
        assert "link.journal' cannot be used: Too many levels of symbolic links" in done.stdout
        assert done.returncode == 3
        (state / "link.journal").unlink()

    def test_no_password_is_in_it(self, tmp_path: Path, state: Path) -> None:
        ova, given = asking_ova(tmp_path / "a.ova"), tmp_path / "given"
        given.write_text(f"root-pw={SECRET}\n")
        with stuck(ova, "-c", f"dir:{tmp_path}/m", "--property-file", given, images=2):
            (journal,) = state.iterdir()
            disc = tmp_path / "m" / "vm" / "vm-ovfenv.iso"
            assert SECRET.encode() in disc.read_bytes()
            assert disc.name in journal.read_text()
            assert SECRET not in journal.read_text()
        assert run("recover").returncode == 0
        assert listing(state) == []


class TestAtOnce:
    """Many installs of one package."""

    MANY = 20

    def test_of_one_name(self, ova: Path, state: Path) -> None:
        machines = ova.parent / "m"
        (machines / "other").mkdir(parents=True)
        with ThreadPoolExecutor(self.MANY) as pool:
            done = list(pool.map(lambda _: run("install", ova, "-c", f"dir:{machines}"), range(self.MANY)))
        taken = error_lines(
            "E_EXISTS",
            f"'{machines}/vm' exists already",
            "Choose another name for the machine with --name, or remove that folder.",
        )
        assert sorted(each.returncode for each in done) == [0] + [1] * (self.MANY - 1)
        assert {each.stderr for each in done if each.returncode} == {taken}
        assert listing(machines) == ["other", "vm", "vm/domain.xml", "vm/run", "vm/vm-disk1.qcow2"]
        assert guest_bytes(machines / "vm" / "vm-disk1.qcow2") == small_disk()
        assert listing(state) == []

    def test_of_different_names(self, ova: Path, state: Path) -> None:
        machines = ova.parent / "m"
        names = [f"vm{number}" for number in range(self.MANY)]
        with ThreadPoolExecutor(self.MANY) as pool:
            results = list(pool.map(lambda name: virt_ova.install(ova, f"dir:{machines}", options=named(name)), names))
        images = [Path(result.volumes[0].path) for result in results]
        assert images == [machines / name / f"{name}-disk1.qcow2" for name in names]
        assert len({hashlib.sha256(image.read_bytes()).hexdigest() for image in images}) == 1
        assert guest_bytes(images[7]) == small_disk()
        assert sorted(path.name for path in machines.iterdir()) == sorted(names)
        assert listing(state) == []


class TestDurable:
    def test_all_is_on_the_disk_before_it_is_used(self, ova: Path) -> None:
        """The image before the machine is defined, that before the journal goes, and all before success is told."""
        log = ova.parent / "log"
        traced = "trace=openat,pwrite64,pwritev,pwritev2,fsync,unlink,write,renameat2"
        words = command("install", ova, "-c", f"dir:{ova.parent}/m")
        strace: list[str | Path] = ["/usr/bin/strace", "-f", "-y", "-qq", "-o", log, "-e", traced, *words]
        subprocess.run(strace, check=True, capture_output=True, env=environment())
        lines = log.read_text().splitlines()

        def last(pattern: str) -> int:
            found = [number for number, line in enumerate(lines) if re.search(pattern, line)]
            assert found, pattern
            return found[-1]

        folder = f"{ova.parent}/m/vm"
        order = [
            last(rf"pwrite(64|v|v2)\(\d+<{folder}/vm-disk1.qcow2>"),
            last(rf"fsync\(\d+<{folder}/vm-disk1.qcow2>\) += 0"),
            last(rf"openat\(.*{folder}/domain.xml.*O_EXCL"),
            last(rf"pwrite(64|v|v2)\(\d+<{folder}/domain.xml>"),
            last(rf"fsync\(\d+<{folder}/domain.xml>\) += 0"),
            last(rf"fsync\(\d+<{folder}/run>\) += 0"),
            last(rf"fsync\(\d+<{folder}>\) += 0"),
            last(rf"fsync\(\d+<{ova.parent}>\) += 0"),
            last(rf"fsync\(\d+<{ova.parent}/m>\) += 0"),
            last(r'write\(\d+<.*[.]journal>, "{\\"state\\": \\"defined'),
            last(r"unlink\(.*[.]journal\"\) += 0"),
            last(r'write\(1<.*"Installed vm'),
        ]
        assert order == sorted(order)
        synced_names = [line for line in lines[: order[2]] if re.search(rf"fsync\(\d+<{folder}>\) += 0", line)]
        assert synced_names

    @pytest.mark.parametrize("words", [("install", "a.ova", "-c", "dir:m"), ("convert", "a.ova", "d.qcow2")])
    def test_nothing_is_open_to_others_at_any_time(self, ova: Path, words: tuple[str, ...]) -> None:
        log = ova.parent / "log"
        strace = ["/usr/bin/strace", "-f", "-qq", "-o", str(log), "-e", "trace=open,openat,mkdir,mkdirat,chmod,fchmod"]
        kept = environment(PYTHONDONTWRITEBYTECODE="1")
        subprocess.run([*strace, *command(*words)], check=True, capture_output=True, env=kept, cwd=ova.parent, umask=0)
        modes = re.findall(r"(?:O_CREAT|mkdir|chmod).*, (0\d+)\)", log.read_text())
        assert len(modes) > 1
        assert [mode for mode in modes if int(mode, 8) & 0o077] == []


def named(name: str) -> virt_ova.InstallOptions:
    return virt_ova.InstallOptions(name=name)


class TestResume:
    """An install that goes on where another one was killed."""

    def test_whole_images_are_used_and_others_made_anew(self, tmp_path: Path, state: Path) -> None:
        ova, machines = small_ova(tmp_path / "a.ova", disks=3), tmp_path / "m"
        with stuck(ova, "-c", f"dir:{machines}", images=3):
            (journal,) = state.iterdir()
            wait_for(lambda: journal.read_text().count('"completed"') == 2)
        images = [machines / "vm" / f"vm-disk{number}.qcow2" for number in (1, 2, 3)]
        whole = [image for image in images if image.name in completed_in(journal)]
        assert len(whole) == 2
        before = {image: image.stat() for image in whole}
        done = run("install", ova, "-c", f"dir:{machines}", "--resume", "--json")
        assert done.returncode == 0, done.stderr
        assert {image: image.stat() for image in whole} == before
        (resumed,) = [each for each in json_of(done)["findings"] if each["code"] == "RESUMED"]
        names = ", ".join(f"vm/{image.name}" for image in whole)
        assert resumed["message"] == f"these images were whole already, and were used: {names}"
        for number, image in enumerate(images, start=1):
            assert guest_bytes(image) == small_disk(number)
        assert [each["name"] for each in json_of(done)["volumes"]] == [f"vm/{image.name}" for image in images]
        assert listing(machines / "vm") == ["domain.xml", "run", *(image.name for image in images)]
        assert listing(state) == []

    def test_it_tells_so(self, ova: Path, state: Path) -> None:
        killed_completed(ova, ova.parent / "m", state)
        done = run("install", ova, "-c", f"dir:{ova.parent}/m", "--resume")
        assert "  info: these images were whole already, and were used: vm/vm-disk1.qcow2 [RESUMED]\n" in done.stdout

    def test_an_image_that_was_written_to_is_made_anew(self, ova: Path, state: Path) -> None:
        machines = ova.parent / "m"
        killed_completed(ova, machines, state)
        image = machines / "vm" / "vm-disk1.qcow2"
        with image.open("r+b") as file:
            file.write(b"x")
        done = run("install", ova, "-c", f"dir:{machines}", "--resume")
        assert (done.returncode, "RESUMED" in done.stdout) == (0, False)
        assert is_installed(machines)
        assert listing(state) == []

    def test_another_package_is_not_taken_up(self, ova: Path, state: Path) -> None:
        machines = ova.parent / "m"
        killed_completed(ova, machines, state)
        other = build_ova(ova.parent / "b.ova", with_manifest([*small_members()[:1], ("a1.vmdk", small_vmdk(2))]))
        ova.unlink()
        other.rename(ova)
        done = run("install", ova, "-c", f"dir:{machines}", "--resume")
        assert (done.returncode, "exists already [E_EXISTS]" in done.stderr) == (1, True)
        assert "'virt-ova recover' takes back what it made" in done.stderr
        assert run("recover").returncode == 0
        assert listing(ova.parent) == ["a.ova"]

    def test_without_manifest_a_package_that_was_touched_is_not_taken_up(self, tmp_path: Path, state: Path) -> None:
        ova, machines = build_ova(tmp_path / "a.ova", small_members()), tmp_path / "m"
        killed_completed(ova, machines, state)
        before = ova.stat()
        os.utime(ova)
        assert run("install", ova, "-c", f"dir:{machines}", "--resume").returncode == 1
        os.utime(ova, ns=(before.st_atime_ns, before.st_mtime_ns))
        done = run("install", ova, "-c", f"dir:{machines}", "--resume", "--json")
        assert (done.returncode, '"RESUMED"' in done.stdout) == (0, True)
        assert is_installed(machines)

    def test_a_resumed_install_that_fails_is_taken_back_whole(self, ova: Path, state: Path) -> None:
        machines = ova.parent / "m"
        killed_completed(ova, machines, state)
        failing = ["fsync:error=EIO:when=1+"]
        done = run_failing(failing, "install", ova, "-c", f"dir:{machines}", "--resume", only=machines / "vm" / "run")
        assert "run' could not be made durable: Input/output error [E_IO]" in done.stderr
        assert "Removed volume vm/vm-disk1.qcow2\n" in done.stderr
        assert (done.returncode, listing(ova.parent), listing(state)) == (1, ["a.ova"], [])

    def test_where_nothing_was_killed_it_is_an_install(self, ova: Path, state: Path) -> None:
        done = run("install", ova, "-c", f"dir:{ova.parent}/m", "--resume")
        assert (done.returncode, "RESUMED" in done.stdout, listing(state)) == (0, False, [])

    def test_it_is_no_dry_run(self, ova: Path) -> None:
        done = run("install", ova, "-c", f"dir:{ova.parent}/m", "--resume", "--dry-run")
        message = "--resume cannot be combined with --dry-run, which writes nothing"
        assert (done.stderr, done.returncode) == (error_lines("E_USAGE", message, "Run 'virt-ova --help'."), 2)


def killed_completed(ova: Path, machines: Path, state: Path) -> None:
    """An install that was killed when its image was whole, and its journal said so."""
    with stuck(ova, "-c", f"dir:{machines}", images=0):
        (journal,) = state.iterdir()
        assert completed_in(journal) == ["vm-disk1.qcow2"]


def completed_in(journal: Path) -> list[str]:
    """Names of the images that a journal calls complete."""
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    return [Path(line["completed"]["name"]).name for line in lines if "completed" in line]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)

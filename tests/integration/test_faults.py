"""Whatever goes wrong, and whenever: what this run made is taken back, and nothing else is touched."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

import virt_ova
from tests.build.command import WITHOUT_QEMU, command, environment, error_lines
from tests.build.command import virt_ova as virt_ova_command
from tests.build.faults import run_failing
from tests.build.ova import build_folder, build_ova, with_manifest
from tests.build.small import is_installed, listing, small_disk, small_members, small_ova
from virt_ova.errors import SourceError, VirtOvaError
from virt_ova.interrupt import STOP_SIGNALS, Interrupted, raise_on_stop_signals
from virt_ova.progress import SilentMonitor
from virt_ova.stories.journal import Journal

MOMENTS = 100
"""How many moments of a run are tried, evenly spread over all of them."""
HANDLED = frozenset({"call", "c_return", "c_exception"})
"""Where the interpreter runs the handler of a signal: when a function begins, and when C code has come back."""
FULL = "Free some space or choose another place, then try again."
TRY_AGAIN = "Run 'virt-ova recover' to try again, or"
ILL = "Check the permissions and the health of the disk, then try again."


@pytest.fixture
def ova(tmp_path: Path) -> Path:
    return small_ova(tmp_path / "a.ova")


@pytest.fixture
def plan(ova: Path) -> virt_ova.InstallPlan:
    """Made beforehand, so that no target has to be asked what it can do."""
    with virt_ova.open_package(ova) as package:
        return virt_ova.plan(package)


@pytest.fixture
def _handlers_restored() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Moment:
    """Sends SIGINT, three times in a row, at the Nth moment of this thread after a journal was begun."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.count = -1

    def __call__(self, frame: FrameType, event: str, _argument: object) -> None:
        if self.count < 0:
            self.count += frame.f_code is Journal.__enter__.__code__
            return
        if event not in HANDLED:
            return
        self.count += 1
        if self.number <= self.count < self.number + 3:
            signal.raise_signal(signal.SIGINT)

    @contextmanager
    def struck(self) -> Iterator[None]:
        raise_on_stop_signals()
        sys.setprofile(self)
        try:
            yield
        finally:
            sys.setprofile(None)


def moments(run: Callable[[], object]) -> range:
    """Moments of `run`, which is run once to count them, from before its first to behind its last."""
    counter = Moment(1 << 60)
    with counter.struck():
        run()
    assert counter.count > 1000
    return range(1, counter.count + 50, counter.count // MOMENTS)


class TestInterrupted:
    """At every moment of a run, by three signals: all or nothing."""

    @pytest.mark.usefixtures("_handlers_restored")
    def test_an_install(self, ova: Path, plan: virt_ova.InstallPlan, state_home: Path) -> None:
        machines = ova.parent / "m"
        outcomes = set()
        for number in moments(lambda: install_and_remove(ova, plan)):
            try:
                with Moment(number).struck():
                    virt_ova.install(ova, f"dir:{machines}", plan=plan)
            except Interrupted:
                outcomes.add("interrupted")
                assert listing(ova.parent) == ["a.ova"], number
            else:
                outcomes.add("installed")
                assert is_installed(machines), number
                shutil.rmtree(machines)
        assert outcomes == {"interrupted", "installed"}
        assert listing(state_home) == ["virt-ova"]

    @pytest.mark.usefixtures("_handlers_restored")
    def test_a_conversion(self, ova: Path) -> None:
        image = ova.parent / "d.raw"
        outcomes = set()
        for number in moments(lambda: convert_and_remove(ova, image)):
            try:
                with Moment(number).struck():
                    virt_ova.convert(ova, image, image_format=virt_ova.ImageFormat.RAW)
            except Interrupted:
                outcomes.add("interrupted")
                assert listing(ova.parent) == ["a.ova"], number
            else:
                outcomes.add("converted")
                assert image.read_bytes() == small_disk(), number
                image.unlink()
        assert outcomes == {"interrupted", "converted"}

    @pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
    def test_the_command_says_so_and_its_status_tells_the_signal(
        self, ova: Path, signum: signal.Signals, status: int
    ) -> None:
        report = ova.parent / "r.json"
        words = ("install", ova, "-c", f"dir:{ova.parent}/m", "--json", "--report", report)
        done = run_struck(signum, *words)
        error = error_lines("E_INTERRUPTED", f"stopped by {signum.name}")
        assert (done.stderr, done.returncode) == (f"Removed volume vm-disk1.qcow2\n{error}", status)
        document = '{\n  "error": {\n    "code": "E_INTERRUPTED",\n'
        assert done.stdout.startswith(document)
        assert report.read_text() == done.stdout
        assert listing(ova.parent) == ["a.ova", "r.json"]

    def test_a_conversion_by_the_command(self, ova: Path) -> None:
        done = run_struck(signal.SIGINT, "convert", ova, ova.parent / "d.qcow2")
        error = error_lines("E_INTERRUPTED", "stopped by SIGINT")
        assert done.stderr == f"Copying a1.vmdk (70.5 KiB)\nRemoved file {ova.parent}/d.qcow2\n{error}"
        assert (done.stdout, done.returncode, listing(ova.parent)) == ("", 130, ["a.ova"])


def install_and_remove(ova: Path, plan: virt_ova.InstallPlan) -> None:
    virt_ova.install(ova, f"dir:{ova.parent}/m", plan=plan)
    shutil.rmtree(ova.parent / "m")


def convert_and_remove(ova: Path, image: Path) -> None:
    virt_ova.convert(ova, image, image_format=virt_ova.ImageFormat.RAW)
    image.unlink()


STRUCK = """
import os, sys
from virt_ova.cli import main
from virt_ova.disk.sink import FileSink

def strike(frame, event, argument):
    if frame.f_code is FileSink.finish.__code__:
        sys.setprofile(None)
        os.kill(os.getpid(), int(sys.argv.pop(1)))
        os.kill(os.getpid(), 15)

sys.setprofile(strike)
sys.exit(main(sys.argv[2:]))
"""


def run_struck(signum: signal.Signals, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command line; when its first image is whole, it gets `signum`, and SIGTERM at once behind it."""
    program = [sys.executable, "-c", STRUCK, str(signum.value), *map(str, words)]
    return subprocess.run(program, capture_output=True, text=True, check=False, env=environment())


def run_with(prelude: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command line behind the shell commands `prelude`, in a mount namespace of its own.

    What its folder ``full`` holds at the end stands behind what it printed.
    """
    script = f'mkdir -p full; {prelude}\nstatus=0; PATH={WITHOUT_QEMU} "$@" || status=$?; ls -A full; exit $status'
    return subprocess.run(
        ["/usr/bin/unshare", "--mount", "/bin/sh", "-ec", script, "sh", *command(*words)],
        capture_output=True,
        text=True,
        check=False,
        env=environment(path="/usr/bin:/bin"),
        cwd=Path(words[1]).parent,
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
class TestFileSystems:
    """Real file systems that are too small or cannot be written."""

    SMALL = "mount -t tmpfs -o size=300k,mode=0700 tmpfs full"

    def test_no_room_is_told_before_the_first_byte_is_written(self, ova: Path) -> None:
        done = run_with(self.SMALL, "install", ova, "-c", "dir:full/m")
        message = f"'{ova.parent}/full/m' has 300.0 KiB free, the images need 512.0 KiB"
        error = error_lines("E_SPACE", message, "Free some space or choose another folder.")
        assert (done.stdout, done.stderr, done.returncode) == ("", error, 1)

    def test_no_room_for_a_file_is_told_before_it_is_made(self, ova: Path) -> None:
        words = ("convert", ova, "full/d.raw", "--format", "raw")
        assert run_with(self.SMALL, *words).returncode == 0
        done = run_with(f"{self.SMALL}; head -c 200K /dev/zero >full/x", *words)
        message = "'full' has 100.0 KiB free, the images need 192.0 KiB"
        error = error_lines("E_SPACE", message, "Free some space or choose another folder.")
        assert (done.stdout, done.stderr, done.returncode) == ("x\n", error, 1)

    def test_no_room_for_the_journal(self, ova: Path) -> None:
        """What cannot be written down is not made."""
        small_ova(ova, disks=4)
        full = "mount -t tmpfs -o size=4k,mode=0700 tmpfs full; export XDG_STATE_HOME=$PWD/full"
        done = run_with(f"{full}; mkdir -m 700 full/virt-ova", "install", ova, "-c", "dir:m")
        *_, error, hint = done.stderr.splitlines()
        expected = rf"virt-ova: error: '{ova.parent}/full/virt-ova/\w+.journal' could not be written: No space left .+"
        assert re.fullmatch(expected, error)
        assert hint == f"  hint: {FULL}"
        assert (done.stdout, done.returncode, listing(ova.parent)) == ("virt-ova\n", 1, ["a.ova", "full"])

    def test_read_only(self, ova: Path) -> None:
        done = run_with("mount -t tmpfs -o ro tmpfs full", "install", ova, "-c", "dir:full/m")
        message = f"'{ova.parent}/full/m' could not be made: Read-only file system"
        assert (done.stdout, done.stderr, done.returncode) == ("", error_lines("E_IO", message, ILL), 1)


class TestSystemCalls:
    """System calls that fail, as on a disk that dies."""

    def test_a_conversion_is_taken_back(self, ova: Path) -> None:
        done = run_failing(["pwritev,pwrite64:error=ENOSPC:when=2"], "convert", ova, ova.parent / "d.qcow2")
        error = error_lines("E_SPACE", f"'{ova.parent}/d.qcow2' could not be written: No space left on device", FULL)
        assert done.stderr == f"Copying a1.vmdk (70.5 KiB)\nRemoved file {ova.parent}/d.qcow2\n{error}"
        assert (done.stdout, done.returncode, listing(ova.parent)) == ("", 1, ["a.ova"])

    @pytest.mark.parametrize(
        ("fault", "code", "message"),
        [
            ("mkdir:error=EACCES:when=1", "E_IO", "m' could not be made: Permission denied"),
            ("pwritev,pwrite64:error=ENOSPC:when=1", "E_SPACE", "qcow2' could not be written: No space left on device"),
            ("pwritev,pwrite64:error=EIO:when=1", "E_IO", "qcow2' could not be written: Input/output error"),
            ("ftruncate:error=EDQUOT:when=1", "E_SPACE", "qcow2' could not be made durable: Disk quota exceeded"),
            ("fsync:error=EIO:when=9", "E_IO", "qcow2' could not be made durable: Input/output error"),
            ("fsync:error=EIO:when=10", "E_IO", "qcow2' could not be made durable: Input/output error"),
            ("fsync:error=EIO:when=15", "E_IO", "domain.xml' could not be made durable: Input/output error"),
            ("fsync:error=EIO:when=20", "E_IO", "run' could not be made durable: Input/output error"),
            ("fsync:error=EIO:when=21", "E_IO", "m' could not be made durable: Input/output error"),
        ],
    )
    def test_an_install_is_taken_back(self, ova: Path, fault: str, code: str, message: str) -> None:
        done = run_failing([fault], "install", ova, "-c", f"dir:{ova.parent}/m")
        assert f"{message} [{code}]\n  hint: " in done.stderr
        assert (done.stdout, done.returncode, listing(ova.parent)) == ("", 1, ["a.ova"])

    def test_what_cannot_be_taken_back_is_told_and_has_a_status_of_its_own(self, ova: Path) -> None:
        faults = ["fsync:error=EIO:when=15", "unlink,unlinkat:error=EPERM"]
        done = run_failing(faults, "install", ova, "-c", f"dir:{ova.parent}/m")
        image = ova.parent / "m" / "vm" / "vm-disk1.qcow2"
        message = (
            f"the run failed ('{image.parent}/domain.xml' could not be made durable: Input/output error), "
            f"and undoing it left: file {image.parent}/domain.xml "
            f"('{image.parent}/domain.xml' could not be removed: Operation not permitted); "
            f"volume vm-disk1.qcow2 ('{image}' could not be removed: Operation not permitted)"
        )
        assert "".join(done.stderr.splitlines(keepends=True)[2:]) == error_lines(
            "E_ROLLBACK", message, f"{TRY_AGAIN} remove what is left by hand: rm {image.parent}/domain.xml; rm {image}"
        )
        assert (done.stdout, done.returncode) == ("", 3)
        assert image.exists()
        recovered = virt_ova_command("recover")
        removed = [
            f"file {image.parent}/domain.xml",
            f"file {image}",
            f"folder {image.parent}",
            f"folder {ova.parent}/m",
        ]
        assert recovered.stderr == "".join(f"Removed {each}\n" for each in removed)
        assert (recovered.returncode, listing(ova.parent)) == (0, ["a.ova"])

    @pytest.mark.parametrize(
        ("fault", "failed", "left"),
        [("fsync:error=EIO:when=15", "domain.xml", ["domain.xml"]), ("fsync:error=EIO:when=20", "run", ["run"])],
    )
    def test_a_definition_that_leaves_a_file_of_its_own_is_told_so(
        self, ova: Path, fault: str, failed: str, left: list[str]
    ) -> None:
        folder = ova.parent / "m" / "vm"
        done = run_failing([fault, "unlink,unlinkat:error=EPERM:when=1"], "install", ova, "-c", f"dir:{folder.parent}")
        message = (
            f"the run failed ('{folder}/{failed}' could not be made durable: Input/output error), and undoing it left: "
            f"file {folder}/{failed} ('{folder}/{failed}' could not be removed: Operation not permitted)"
        )
        hint = f"{TRY_AGAIN} remove what is left by hand: rm {folder}/{failed}"
        assert done.stderr.endswith("Removed volume vm-disk1.qcow2\n" + error_lines("E_ROLLBACK", message, hint))
        assert (done.returncode, listing(folder)) == (3, left)
        assert (virt_ova_command("recover").returncode, listing(ova.parent)) == (0, ["a.ova"])

    def test_a_machine_that_does_not_start_is_recovered_as_undone(self, ova: Path) -> None:
        """It was whole already, and is not taken for that any more."""
        done = run_failing(["unlink,unlinkat:error=EPERM"], "install", ova, "-c", f"dir:{ova.parent}/m", "--start")
        assert "the machine 'vm' does not start: the program setpriv is not installed" in done.stderr
        assert (done.returncode, is_installed(ova.parent / "m")) == (3, True)
        recovered = virt_ova_command("recover")
        assert recovered.stdout.startswith(f"Undone: vm on dir:{ova.parent}/m, begun ")
        assert (recovered.returncode, listing(ova.parent)) == (0, ["a.ova"])


class Nosy(SilentMonitor):
    """Does something when the first bytes are copied."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act

    def advance(self, step: str, done_bytes: int) -> None:  # noqa: ARG002 - the protocol's
        self._act()


def _change(path: Path, how: str, place: int) -> None:
    """Spoil a byte of `path` at `place`, or its length."""
    before, data = path.stat(), bytearray(path.read_bytes())
    data[place] ^= 0xFF
    match how:
        case "replaced":
            (new := path.with_name("new")).write_bytes(data)
            new.replace(path)
        case "truncated":
            os.truncate(path, place)
        case "appended":
            with path.open("ab") as file:
                file.write(b"more")
        case _:
            path.write_bytes(data)
            if how.endswith("back-dated"):
                os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


class TestSources:
    def test_a_source_that_changes_meanwhile(self, ova: Path, plan: virt_ova.InstallPlan) -> None:
        machines = ova.parent / "m"
        with pytest.raises(SourceError, match=f"^'{ova}' changed while it was in use$") as caught:
            virt_ova.install(ova, f"dir:{machines}", plan=plan, monitor=Nosy(lambda: os.utime(ova)))
        assert (caught.value.code, caught.value.hint) == (
            "E_CHANGED",
            "Let nobody write to the package, and try again.",
        )
        assert listing(ova.parent) == ["a.ova"]

    @pytest.mark.parametrize("kind", ["ova", "folder"])
    @pytest.mark.parametrize(
        "change", ["overwritten", "replaced", "truncated", "appended", "overwritten and back-dated"]
    )
    def test_what_was_not_verified_is_never_installed(self, tmp_path: Path, kind: str, change: str) -> None:
        """Somebody changes the disk between the check and the copy."""
        members = with_manifest(small_members())
        if kind == "ova":
            source = changed = build_ova(tmp_path / "a.ova", members)
        else:
            source = build_folder(tmp_path / "a", members)
            changed = source / "a1.vmdk"
        with virt_ova.open_package(source) as package:
            package.check_manifest()
            member = package.member("a1.vmdk")
            _change(changed, change, member.offset + member.size // 2)
            with pytest.raises(VirtOvaError) as caught:
                virt_ova.install(package, f"dir:{tmp_path}/m")
        assert caught.value.code in {"E_CHANGED", "E_DIGEST", "E_DISK_GRAIN", "E_SOURCE_TRUNCATED"}
        assert not (tmp_path / "m").exists()

    @pytest.mark.parametrize("is_replaced", [False, True])
    def test_an_image_that_somebody_takes_away(
        self, ova: Path, plan: virt_ova.InstallPlan, *, is_replaced: bool
    ) -> None:
        image = ova.parent / "m" / "vm" / "vm-disk1.qcow2"

        def take_away() -> None:
            image.unlink(missing_ok=True)
            if is_replaced:
                image.write_text("somebody's")

        message = f"^'{image}' was removed or replaced by somebody else while it was in use$"
        with pytest.raises(virt_ova.TargetError, match=message) as caught:
            virt_ova.install(ova, f"dir:{ova.parent}/m", plan=plan, monitor=Nosy(take_away))
        assert (caught.value.code, caught.value.hint) == ("E_CHANGED", "Let nobody else work there, and install again.")
        assert listing(ova.parent) == (["a.ova", "m", "m/vm", "m/vm/vm-disk1.qcow2"] if is_replaced else ["a.ova"])

    def test_a_monitor_that_fails(self, ova: Path, plan: virt_ova.InstallPlan) -> None:
        def fail() -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            virt_ova.install(ova, f"dir:{ova.parent}/m", plan=plan, monitor=Nosy(fail))
        assert listing(ova.parent) == ["a.ova"]

    def test_somebody_else_takes_the_name_meanwhile(self, ova: Path, plan: virt_ova.InstallPlan) -> None:
        domain = ova.parent / "m" / "vm" / "domain.xml"
        with pytest.raises(virt_ova.TargetError, match=r"domain.xml' exists already$") as caught:
            virt_ova.install(
                ova, f"dir:{ova.parent}/m", plan=plan, monitor=Nosy(lambda: domain.write_text("somebody's"))
            )
        assert caught.value.code == "E_EXISTS"
        assert listing(ova.parent) == ["a.ova", "m", "m/vm", "m/vm/domain.xml"]
        assert domain.read_text() == "somebody's"

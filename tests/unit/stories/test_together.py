"""Several disks at once: one progress, and one failure or signal stops all."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.build.disks import guest_bytes
from tests.build.ova import build_ova, manifest_for
from tests.build.small import damaged_vmdk, listing, small_disk, small_members, small_ova
from virt_ova import install
from virt_ova.errors import DigestError, DiskError
from virt_ova.interrupt import STOP_SIGNALS, Interrupted, raise_on_stop_signals
from virt_ova.progress import SilentMonitor
from virt_ova.stories.together import AT_ONCE, Advance, copy_together


@pytest.fixture
def signals() -> Iterator[None]:
    before = {signum: signal.getsignal(signum) for signum in STOP_SIGNALS}
    raise_on_stop_signals()
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


class Endless:
    """A copy that goes on until it is stopped."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.has_ended = False

    def __call__(self, advance: Advance) -> None:
        self.began.set()
        try:
            while True:
                advance(1)
                time.sleep(0.001)
        finally:
            self.has_ended = True


def test_progress_is_told_in_this_thread_and_adds_up() -> None:
    told: list[int] = []

    def copy(advance: Advance) -> None:
        for size in (1, 10, 100):
            advance(size)

    def advance(done_bytes: int) -> None:
        assert threading.current_thread() is threading.main_thread()
        told.append(done_bytes)

    copy_together([copy] * 5, advance)
    assert sum(told) == 555


def test_so_many_run_at_once_and_not_more() -> None:
    lock, meeting = threading.Lock(), threading.Barrier(AT_ONCE, timeout=10)
    now = most = 0

    def copy(_: Advance) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        meeting.wait()
        with lock:
            now -= 1

    copy_together([copy] * (3 * AT_ONCE), lambda _: None)
    assert most == AT_ONCE


def test_the_first_failure_stops_the_others_before_it_is_raised() -> None:
    endless, late = Endless(), Endless()

    def fail(_: Advance) -> None:
        endless.began.wait(10)
        raise DiskError("it is damaged", code="E_DISK_GRAIN")

    with pytest.raises(DiskError, match=r"^it is damaged$"):
        copy_together([endless, fail, late], lambda _: None)
    assert endless.has_ended
    assert late.has_ended == late.began.is_set()


@pytest.mark.usefixtures("signals")
def test_a_stop_signal_is_raised_when_all_have_ended() -> None:
    copies = [Endless() for _ in range(AT_ONCE)]

    def interrupt() -> None:
        for copy in copies:
            copy.began.wait(10)
        signal.raise_signal(signal.SIGINT)

    stopping = threading.Thread(target=interrupt)
    stopping.start()
    with pytest.raises(Interrupted, match=r"^SIGINT$"):
        copy_together(copies, lambda _: None)
    stopping.join()
    assert all(copy.has_ended for copy in copies)


def test_a_monitor_that_fails_stops_the_copies() -> None:
    endless = Endless()

    def refuse(_: int) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        copy_together([endless], refuse)
    assert endless.has_ended


class Steps(SilentMonitor):
    """Writes down what is begun and ended, and adds up what is between."""

    def __init__(self) -> None:
        self.seen: list[object] = []
        self.done_bytes = 0

    def begin(self, step: str, total_bytes: int | None = None) -> None:
        self.seen.append((step, total_bytes))

    def advance(self, step: str, done_bytes: int) -> None:
        assert step == "Copying 3 disks"
        self.done_bytes += done_bytes

    def end(self, step: str) -> None:
        self.seen.append(step)


def test_three_disks_are_one_step(tmp_path: Path) -> None:
    steps, sizes = Steps(), [len(data) for name, data in small_members(3) if name.endswith("vmdk")]
    result = install(small_ova(tmp_path / "a.ova", disks=3), f"dir:{tmp_path}/m", monitor=steps)
    assert steps.seen == [("Copying 3 disks", sum(sizes)), "Copying 3 disks"]
    assert steps.done_bytes == sum(sizes)
    assert [volume.name for volume in result.volumes] == [f"vm/vm-disk{number}.qcow2" for number in (1, 2, 3)]
    for number, volume in enumerate(result.volumes, 1):
        assert guest_bytes(Path(volume.path)) == small_disk(number)


def test_one_bad_disk_takes_all_back(tmp_path: Path) -> None:
    members = small_members(3)
    bad = [(name, damaged_vmdk() if name == "a1.vmdk" else data) for name, data in members]
    ova = build_ova(tmp_path / "a.ova", [bad[0], ("a.mf", manifest_for(members)), *bad[1:]])
    with pytest.raises(DigestError, match=r"^the SHA256 of 'a1.vmdk' is ") as caught:
        install(ova, f"dir:{tmp_path}/m")
    assert caught.value.code == "E_DIGEST"
    assert listing(tmp_path) == ["a.ova"]

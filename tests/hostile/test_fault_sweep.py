"""Every call that writes fails once, as on a disk that is full or dies: all or nothing, and one clear error.

In the manner of SQLite's tests: one run counts the calls of each kind, then each run fails another one of them. A call
is failed once (``N``), or from then on (``N+``).
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Final

import pytest

from tests.build.disks import guest_bytes
from tests.build.faults import count_calls, run_failing
from tests.build.small import is_installed, listing, small_disk, small_ova

CALLS: Final = (
    *("write", "pwrite64", "pwritev", "pwritev2", "fsync", "fdatasync", "ftruncate", "fallocate", "copy_file_range"),
    *("mkdir", "mkdirat", "rename", "renameat", "renameat2", "link", "linkat", "fchmod", "chmod"),
)
ERRORS: Final = ("ENOSPC", "EIO", "EINTR")
SAMPLE: Final = (("EIO", False), ("ENOSPC", True), ("EIO", True), ("EINTR", False))
"""Without ``--long``, each call fails in one way: these in turn."""

WAYS: Final = {
    "an install": ("install", "a.ova", "-c", "dir:m"),
    "a transplant": ("install", "a.ova", "-c", "dir:m", "--disk-mode", "transplant"),
    "a conversion": ("convert", "a.ova", "d.qcow2"),
}
LONG_WAYS: Final = {
    "a raw conversion": ("convert", "a.ova", "d.raw", "--format", "raw"),
    "two disks": ("install", "b.ova", "-c", "dir:m"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """The `number`-th `call` fails with `error`, and those after it too when it `lasts`."""

    call: str
    number: int
    error: str
    lasts: bool = False

    @property
    def injection(self) -> str:
        """As strace has it."""
        return f"{self.call}:error={self.error}:when={self.number}{'+' if self.lasts else ''}"


def faults(counts: dict[str, int], *, is_long: bool) -> Iterator[Fault]:
    """Every call to fail, in every way or in one."""
    turn = 0
    for call, count in counts.items():
        for number in range(1, count + 1):
            if is_long:
                for error in ERRORS:
                    yield Fault(call=call, number=number, error=error)
                    # a call that is interrupted for ever is made for ever
                    if error != "EINTR":
                        yield Fault(call=call, number=number, error=error, lasts=True)
            else:
                error, lasts = SAMPLE[turn % len(SAMPLE)]
                yield Fault(call=call, number=number, error=error, lasts=lasts)
                turn += 1


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    small_ova(tmp_path / "a.ova")
    return tmp_path


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """More ways with ``--long``."""
    if "way" in metafunc.fixturenames:
        metafunc.parametrize("way", [*WAYS, *(LONG_WAYS if metafunc.config.getoption("--long") else ())])


def test_every_call_fails_once(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, way: str, pytestconfig: pytest.Config
) -> None:
    is_long = pytestconfig.getoption("--long")
    words = {**WAYS, **LONG_WAYS}[way]
    if "b.ova" in words:
        small_ova(folder / "b.ova", disks=2)
        (folder / "a.ova").unlink()
    log = tmp_path_factory.mktemp("log") / "calls"
    counts = count_calls(CALLS, log, *words)
    assert counts["fsync"] > 1
    outcomes = {"undone": 0, "done": 0}
    for fault in faults(counts, is_long=is_long):
        clear(folder)
        done = run_failing([fault.injection], *words)
        outcomes[judge(folder, done, fault)] += 1
    assert min(outcomes.values()) > 0, outcomes


def clear(folder: Path) -> None:
    """Leave nothing but the package."""
    shutil.rmtree(folder / "m", ignore_errors=True)
    for image in ("d.qcow2", "d.raw"):
        (folder / image).unlink(missing_ok=True)


def judge(folder: Path, done: CompletedProcess[str], fault: Fault) -> str:
    """Whether it was ``done`` or ``undone``; anything between fails the test."""
    assert "Traceback" not in done.stderr, fault
    codes = re.findall(r"^virt-ova: error: .* \[(E_\w+)\]$", done.stderr, re.MULTILINE)
    can_tell = not (fault.call == "write" and fault.lasts)
    if is_whole(folder):
        assert (done.returncode, codes) in [(0, []), (1, ["E_OUTPUT"] if can_tell else [])], (fault, done.stderr)
        return "done"
    expected = ["E_SPACE"] if fault.error == "ENOSPC" else ["E_IO"]
    assert listing(folder) in (["a.ova"], ["b.ova"]), (fault, done.stderr)
    assert (done.returncode, codes) == (1, expected if can_tell else []), (fault, done.stderr)
    assert not can_tell or os.strerror(getattr(errno, fault.error)) in done.stderr, fault
    return "undone"


def is_whole(folder: Path) -> bool:
    """Whether the machine or the image is there, with the right bytes."""
    for image in ("d.qcow2", "d.raw"):
        if (folder / image).exists():
            return guest_bytes(folder / image) == small_disk()
    if (folder / "b.ova").exists():
        return all((folder / f"m/vm/vm-disk{number}.qcow2").exists() and is_disk(folder, number) for number in (1, 2))
    return (folder / "m").is_dir() and is_installed(folder / "m")


def is_disk(folder: Path, number: int) -> bool:
    """Whether image `number` of two has the right bytes."""
    return guest_bytes(folder / f"m/vm/vm-disk{number}.qcow2") == small_disk(number)


@pytest.mark.parametrize("error", ["EIO", "ENOSPC", "EINTR", "EPERM", "EXDEV"])
def test_blocks_that_cannot_be_shared(folder: Path, error: str) -> None:
    """FICLONERANGE, which is the only ioctl on an image."""
    image = folder / "m/vm/vm-disk1.qcow2"
    done = run_failing([f"ioctl:error={error}"], *WAYS["a transplant"], only=image)
    assert judge(folder, done, Fault(call="ioctl", number=1, error=error)) == "done"

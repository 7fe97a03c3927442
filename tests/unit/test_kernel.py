import os
import shutil
import time
from pathlib import Path

import pytest

from tests.build.command import virt_ova
from tests.build.faults import run_failing
from tests.build.small import is_installed, listing, small_ova
from virt_ova.kernel import file_identity, has_identity, rename_new, seal_of


def test_a_file_keeps_its_identity(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch()
    identity = file_identity(path)
    path.write_bytes(b"more")
    path.chmod(0o400)
    os.utime(path, (0, 0))
    assert has_identity(path.rename(tmp_path / "b"), identity)
    assert not has_identity(path, identity)
    assert not has_identity(tmp_path / "b" / "c", identity)


def test_the_next_file_of_that_inode_has_another_one(tmp_path: Path) -> None:
    """File systems give the number of a removed file to the next one."""
    path = tmp_path / "a"
    seen = set()
    for _ in range(10):
        path.touch()
        seen.add(file_identity(path))
        path.unlink()
        time.sleep(0.011)  # the time of birth has the resolution of the kernel's timer, 10 ms at most
    assert len(seen) == 10


def test_a_link_has_its_own(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "b").symlink_to("a")
    assert file_identity(tmp_path / "a") != file_identity(tmp_path / "b")


def test_a_seal_is_broken_by_writing(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"1")
    os.utime(path, (1, 1))
    seal = seal_of(path)
    assert seal == "1 bytes at 1000000000"
    path.write_bytes(b"2")
    assert seal_of(path) != seal


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_a_rename_replaces_nothing(tmp_path: Path, kind: str) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    if kind == "link":
        new.symlink_to("nowhere")
    elif kind == "folder":
        new.mkdir()
    else:
        new.touch()
    with pytest.raises(FileExistsError):
        rename_new(old, new)
    assert old.is_dir()


def test_what_cannot_be_renamed_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        rename_new(tmp_path / "old", tmp_path / "new")


@pytest.mark.parametrize("fault", ["renameat2:error=EINVAL", "renameat2:error=ENOSYS", "statx:error=ENOSYS"])
def test_a_system_that_cannot_do_it(tmp_path: Path, fault: str) -> None:
    """Installs, refuses what exists, and recovers all the same."""
    ova, machines = small_ova(tmp_path / "a.ova"), tmp_path / "m"
    done = run_failing([fault], "install", ova, "-c", f"dir:{machines}")
    assert done.returncode == 0, done.stderr
    assert is_installed(machines)
    again = run_failing([fault], "install", ova, "-c", f"dir:{machines}")
    assert "vm' exists already [E_EXISTS]" in again.stderr
    shutil.rmtree(machines)
    failing = [fault, "unlink,unlinkat:error=EPERM", "fsync:error=EIO:when=15"]
    if fault.startswith("renameat2"):
        failing[2] = "fsync:error=EIO:when=19"
    assert run_failing(failing, "install", ova, "-c", f"dir:{machines}").returncode == 3
    assert virt_ova("recover").returncode == 0
    assert listing(tmp_path) == ["a.ova"]

"""Names of modules in every kind of initramfs, and what a hostile one may cost."""

from __future__ import annotations

import bz2
import gzip
import lzma
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.build.appliance.initramfs import entry
from virt_ova.errors import ToolError
from virt_ova.inside import initramfs
from virt_ova.inside.initramfs import modules_in

FILE = stat.S_IFREG | 0o644
END = entry("TRAILER!!!", 0)
MICROCODE = entry("kernel/x86/microcode/GenuineIntel.bin", FILE, b"m" * 1001) + END
MODULES = (
    entry("usr/lib/modules/6.1.0/kernel/drivers/block/virtio_blk.ko", FILE, b"k" * 333)
    + entry("usr/lib/modules/6.1.0/kernel/drivers/scsi/vmw_pvscsi.ko.xz", FILE, b"k" * 2)
    + entry("usr/lib/modules/6.1.0/kernel/drivers/virtio/virtio-pci.ko.zst", FILE, b"k")
    + entry("BusLogic.ko.gz", FILE)
    + entry("usr/lib/modules/6.1.0/kernel/drivers/scsi/ahci.txt", FILE)
    + entry("usr/lib/modules/6.1.0/kernel/fs/ext4.ko", FILE)
    + END
)
FOUND = {"virtio_blk", "vmw_pvscsi", "virtio_pci", "buslogic"}


def _by(*command: str) -> Callable[[bytes], bytes]:
    return lambda data: subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout


def written(folder: Path, data: bytes) -> Path:
    path = folder / "initrd"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    "pack",
    [
        bytes,
        gzip.compress,
        bz2.compress,
        lzma.compress,
        lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE),
        _by("xz", "--check=crc32", "-c"),
        _by("zstd", "-c"),
        _by("lz4", "-l", "-c"),
    ],
)
@pytest.mark.parametrize("before", [b"", MICROCODE, MICROCODE + bytes(1200)])
def test_modules_are_found_however_it_is_packed(tmp_path: Path, pack: Callable[[bytes], bytes], before: bytes) -> None:
    assert modules_in(written(tmp_path, before + pack(MODULES))) == FOUND


def test_archives_may_follow_one_another(tmp_path: Path) -> None:
    second = entry("lib/modules/x/nvme.ko", FILE, b"n" * 5) + END
    assert modules_in(written(tmp_path, gzip.compress(MODULES + bytes(700) + second))) == {*FOUND, "nvme"}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", None),
        (b"MZ\x90\0 a kernel", "it goes on with 4d5a90002061, which is no known format"),
        (MICROCODE + b"#BOOTC", "it goes on with 23424f4f5443, which is no known format"),
        (MODULES[:-300], "it is cut short"),
        (gzip.compress(MODULES[:-300]), "it is cut short"),
        (gzip.compress(b"MZ" * 100_000), "what is packed in it is no archive"),
        (b"070701" + b"x" * 104, "a header has no numbers"),
        (b"070701" + b"0" * 104, "a name has 0 bytes"),
        (b"070701" + b"0" * 88 + b"FFFFFFFF" + b"0" * 8, "a name has 4294967295 bytes"),
    ],
)
def test_what_is_none_is_refused(tmp_path: Path, data: bytes, problem: str | None) -> None:
    path = written(tmp_path, data)
    if problem is None:
        assert modules_in(path) == frozenset()
        return
    with pytest.raises(ToolError) as caught:
        modules_in(path)
    assert (caught.value.code, str(caught.value)) == ("E_INITRAMFS", f"the initramfs cannot be read: {problem}")


def test_what_does_not_unpack_is_refused_in_the_words_of_the_program(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"^gzip failed \(1\): gzip: stdin: invalid compressed data--format violated$"):
        modules_in(written(tmp_path, gzip.compress(MODULES)[:10] + b"\xff" * 50))


def test_a_bomb_costs_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initramfs, "MAX_BYTES", 64 << 20)
    huge = entry("a", FILE)[:54] + b"FFFFFFF0" + entry("a", FILE)[62:]
    bomb = gzip.compress(huge + bytes(200 << 20))
    began = time.monotonic()
    with pytest.raises(ToolError, match=r"^the initramfs cannot be read: it has more than 67108864 bytes$"):
        modules_in(written(tmp_path, bomb))
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_files_without_end_are_not_gone_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes]
) -> None:
    most = 3000
    monkeypatch.setattr(initramfs, "MOST_MEMBERS", most)
    crowd = entry("virtio_blk.ko", FILE) + entry("a", FILE) * (most - 2)
    assert modules_in(written(tmp_path, pack(crowd + END))) == {"virtio_blk"}
    with pytest.raises(ToolError, match=f"^the initramfs cannot be read: it has more than {most} files$"):
        modules_in(written(tmp_path, pack(crowd + entry("a", FILE) + END)))


def test_what_unpacks_it_may_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "setpriv").symlink_to("/usr/bin/setpriv")
    monkeypatch.setenv("PATH", str(programs))
    with pytest.raises(ToolError) as caught:
        modules_in(written(tmp_path, b"\x28\xb5\x2f\xfd rest"))
    assert caught.value.code == "E_TOOL_MISSING"
    assert caught.value.hint == "Install it: apt install zstd"

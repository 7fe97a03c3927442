import io
from collections import deque
from pathlib import Path

import pytest

import virt_ova
from tests.build.disks import KIB, MIB, convert, guest_bytes, member_of, random_disk
from tests.build.layers import Layer, delta_members
from tests.build.ova import build_ova, descriptor, with_manifest
from virt_ova.disk.witness import Witness
from virt_ova.errors import SourceError
from virt_ova.plan.plan import DiskMode


class Kept:
    def __init__(self) -> None:
        self.data = bytearray()

    def update(self, data: bytes | bytearray | memoryview) -> None:
        self.data += data


@pytest.mark.parametrize("size", [1, 17, 512, 100_000])
def test_what_was_read_before_must_pass_by(tmp_path: Path, size: int) -> None:
    data = bytes(range(256)) * 300
    (tmp_path / "file").write_bytes(b"x" * 512 + data)
    for flipped in (None, 0, 299, 300, 70_000, len(data) - 1):
        with member_of(tmp_path / "file", offset=512) as member:
            witness = Witness(member)
            for start, length in ((0, 300), (100, 50), (70_000, 1), (len(data) - 5, 5), (9, 0)):
                witness.member.read_at(start, length)
            kept = Kept()
            comparison = witness.compare(kept)
            passing = bytearray(data)
            if flipped is not None:
                passing[flipped] ^= 1
            pieces = [bytes(passing[start : start + size]) for start in range(0, len(data), size)]
            if flipped in {None, 300}:
                for piece in pieces:
                    comparison.update(piece)
                assert kept.data == passing
            else:
                with pytest.raises(SourceError) as caught:
                    deque(map(comparison.update, pieces), maxlen=0)
                assert (caught.value.code, str(caught.value)) == (
                    "E_CHANGED",
                    "file: it answered differently when its bytes were read again, expected a file that nobody changes",
                )


def test_the_pass_itself_is_not_remembered(tmp_path: Path) -> None:
    """However long a disk is, only what was read before the pass costs memory; and it can begin anew."""
    (tmp_path / "file").write_bytes(bytes(MIB))
    with member_of(tmp_path / "file") as member:
        witness = Witness(member)
        witness.member.read_at(5, 3)
        for _ in range(2):
            comparison = witness.compare(Kept())
            for start in range(0, MIB, 4096):
                comparison.update(witness.member.read_at(start, 4096))
        assert len(witness.testimony()) == 2, "those three bytes, and the piece that came before anything passed"


def test_nothing_is_remembered_when_nothing_passes_by(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(MIB))
    with member_of(tmp_path / "file") as member:
        witness = Witness(member)
        witness.member.read_at(5, 3)
        witness.forget()
        assert witness.member.read_at(0, 4096) == bytes(4096)
        assert witness.testimony() == []


class FickleFile(io.BytesIO):
    """Answers the question for the bytes at `place` with a lie once, when they are asked for that often before."""

    def __init__(self, data: bytes, place: int, lie: bytes, *, honest: int) -> None:
        super().__init__(data)
        self._place, self._lie, self._honest = place, lie, honest

    def read(self, size: int | None = -1, /) -> bytes:
        start = self.tell()
        data = super().read(size)
        if start <= self._place and self._place + len(self._lie) <= start + len(data):
            self._honest -= 1
            if self._honest == -1:
                at = self._place - start
                data = data[:at] + self._lie + data[at + len(self._lie) :]
        return data


@pytest.mark.parametrize(
    ("driver", "mode"),
    [
        ("vmdk", DiskMode.EXPAND),
        ("vmdk", DiskMode.TRANSPLANT),
        ("qcow2", DiskMode.EXPAND),
        ("vpc", DiskMode.EXPAND),
        ("vdi", DiskMode.EXPAND),
        ("vhdx", DiskMode.EXPAND),
    ],
)
def test_tables_are_those_that_were_verified(tmp_path: Path, driver: str, mode: DiskMode) -> None:
    """Whatever lies when the disk is opened, the copy never ends well with another disk."""
    raw = random_disk(tmp_path / "raw", MIB, [0, 3, 7, 15])
    options = ("subformat=streamOptimized",) if driver == "vmdk" else ()
    disk = convert(raw, tmp_path / "disk1", driver, *options).read_bytes()
    text = descriptor([("disk1", len(disk))], capacity=str(MIB), format_uri="")
    package = build_ova(tmp_path / "a.ova", with_manifest([("a.ovf", text), ("disk1", disk)])).read_bytes()
    start = package.rindex(disk[: 64 * KIB])
    words = [at for at in range(0, len(disk) - 8, 8) if any(disk[at : at + 8])]
    caught = 0
    for at in words[:: max(1, len(words) // 40)][:40]:
        for honest in range(4):
            out = tmp_path / f"out{at}.{honest}"
            try:
                virt_ova.convert(FickleFile(package, start + at, bytes(8), honest=honest), out, mode=mode)
            except virt_ova.VirtOvaError as exc:
                caught += exc.code == "E_CHANGED"
                assert not out.exists()
            else:
                assert guest_bytes(out)[:MIB] == raw.read_bytes()
                out.unlink()
    assert caught > 0


@pytest.mark.parametrize("layer", [1, 2])
def test_tables_of_every_layer_are_those_that_were_verified(tmp_path: Path, layer: int) -> None:
    """As above, for a disk of differences and for its parent; their tables stand behind their grains."""
    top, base = Layer(grains=("data", "none", "zeroed") * 2), Layer(grains=("data",) * 6, seed=1)
    members = delta_members(top, base)
    disk = members[layer][1]
    package = build_ova(tmp_path / "a.ova", with_manifest(members)).read_bytes()
    start = package.index(disk)
    behind = len(disk) - 6 * KIB
    words = [at for at in range(behind, len(disk) - 8, 8) if any(disk[at : at + 8])]
    caught = 0
    for at in words[:: len(words) // 8]:
        for honest in range(2):
            out = tmp_path / f"out{at}.{honest}"
            try:
                virt_ova.convert(FickleFile(package, start + at, bytes(8), honest=honest), out, disk="disk1")
            except virt_ova.VirtOvaError as exc:
                caught += exc.code == "E_CHANGED"
                assert not out.exists()
            else:
                assert guest_bytes(out) == top.over(base.over(b""))
    assert caught > 0

"""An OVA whose files' sizes are known when they are there."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from virt_ova.disk.pump import PIECE_BYTES
from virt_ova.disk.sink import FileSink
from virt_ova.errors import PackageError, TargetError
from virt_ova.package.writer import OvaWriter
from virt_ova.source.file import LocalFile
from virt_ova.source.tar import index_tar
from virt_ova.source.tarheader import make_header, parse_header

DESCRIPTOR = b"<Envelope/>"


def silent(_done: int) -> None:
    """Nobody watches."""


def broken_after(data: bytes) -> Callable[[int], bytes]:
    """Gives `data`, and fails then."""
    stream = io.BytesIO(data)

    def read(size: int) -> bytes:
        if found := stream.read(size):
            return found
        raise TargetError("cut", code="E_CONNECT")

    return read


def write(path: Path, files: dict[str, bytes], *, algorithm: str = "SHA256", room: int = 100) -> dict[str, bytes]:
    """The package of `files`, and what Python's tarfile finds in it, in order."""
    writer = OvaWriter(FileSink.create(path), stem="web", names=list(files), room_bytes=room, algorithm=algorithm)
    for name, data in files.items():
        member = writer.begin(name, also=("SHA1",))
        member.take(io.BytesIO(data).read, silent)
        written = writer.end(member)
        assert written.digests["SHA1"] == hashlib.sha1(data).hexdigest()  # noqa: S324
    writer.finish(DESCRIPTOR)
    return read(path)


def read(path: Path) -> dict[str, bytes]:
    """What Python's tarfile finds, in order."""
    with tarfile.open(path, "r:") as tar:
        return {info.name: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]


@pytest.mark.parametrize("algorithm", ["SHA1", "SHA256", "SHA512"])
@pytest.mark.parametrize(
    "files",
    [{}, {"a.vmdk": b""}, {"a.vmdk": b"1"}, {"a.vmdk": bytes(512), "b.iso": os.urandom(2 * PIECE_BYTES + 7)}],
    ids=["none", "empty", "short", "two"],
)
def test_descriptor_manifest_and_files_follow_each_other(
    tmp_path: Path, files: dict[str, bytes], algorithm: str
) -> None:
    path = tmp_path / "web.ova"
    found = write(path, files, algorithm=algorithm)
    text = DESCRIPTOR.ljust(512, b"\n")
    manifest = b"".join(
        f"{algorithm}({name})= {hashlib.new(algorithm, data).hexdigest()}\n".encode()
        for name, data in {"web.ovf": text, **files}.items()
    )
    assert found == {"web.ovf": text, "web.mf": manifest, **files}
    assert list(found) == ["web.ovf", "web.mf", *files]
    source = LocalFile.open(str(path))
    archive = index_tar(source)
    assert (list(archive.members), archive.findings) == (list(found), ())
    source.close()
    listed = subprocess.run(["tar", "-tf", path], check=True, capture_output=True, text=True)
    assert (listed.stdout.split(), listed.stderr) == (list(found), "")


@pytest.mark.parametrize("rest", [b"", b"c" * 100, b"c" * 700])
def test_what_broke_off_goes_on_or_begins_again(tmp_path: Path, rest: bytes) -> None:
    sink = FileSink.create(tmp_path / "web.ova")
    writer = OvaWriter(sink, stem="web", names=["a", "b"], room_bytes=1, algorithm="SHA256")
    first = writer.begin("a")
    with pytest.raises(TargetError, match=r"^cut$"):
        first.take(broken_after(b"a" * 3000), silent)
    assert first.size == 3000
    first.take(io.BytesIO(rest).read, silent)
    assert writer.end(first).size == 3000 + len(rest)
    second = writer.begin("b")
    with pytest.raises(TargetError, match=r"^cut$"):
        second.take(broken_after(b"x" * 3000), silent)
    second.restart()
    second.take(io.BytesIO(rest).read, silent)
    assert writer.end(second).size == len(rest)
    writer.finish(DESCRIPTOR)
    found = read(tmp_path / "web.ova")
    assert (found["a"], found["b"]) == (b"a" * 3000 + rest, rest)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in found.items() if name != "web.mf"}
    assert found["web.mf"].decode() == "".join(f"SHA256({name})= {digest}\n" for name, digest in digests.items())
    assert b"xx" not in (tmp_path / "web.ova").read_bytes()


def test_a_descriptor_that_is_too_long(tmp_path: Path) -> None:
    sink = FileSink.create(tmp_path / "web.ova")
    writer = OvaWriter(sink, stem="web", names=[], room_bytes=100, algorithm="SHA256")
    with pytest.raises(PackageError) as caught:
        writer.finish(bytes(513))
    assert (caught.value.code, caught.value.message, caught.value.hint) == (
        "E_EXPORT",
        "the descriptor has 513 bytes, expected at most the 512 that were left for it",
        "The machine was changed meanwhile: export it again, and let nobody change it.",
    )
    writer.finish(bytes(512))


@pytest.mark.parametrize("size", [0, 511, (1 << 33) - 1, 1 << 33, 1 << 50])
def test_a_header_of_any_size(size: int) -> None:
    block = make_header("web-disk1.vmdk", size, modified=1_800_000_000)
    header = parse_header(block)
    assert (header.name, header.size, header.type) == (b"web-disk1.vmdk", size, b"0")
    info = tarfile.TarInfo.frombuf(block, "ascii", "strict")
    assert (info.name, info.size, info.mode, info.mtime) == ("web-disk1.vmdk", size, 0o644, 1_800_000_000)
    assert block[257:265] == (b"ustar\x0000" if size < 1 << 33 else b"ustar  \0")

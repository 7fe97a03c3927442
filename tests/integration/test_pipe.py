"""Packages out of real pipes, by the command line: judged by qemu-img, counted in memory, stopped and cut."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.build.command import command, environment, error_lines, json_of, piped
from tests.build.command import virt_ova as run_virt_ova
from tests.build.disks import KIB, MIB, SECTOR, convert, qemu_img, random_disk, sparse_vmdk
from tests.build.ova import build_ova, descriptor, manifest_for, with_manifest
from tests.build.peak import PEAK
from tests.build.small import is_installed, listing, small_members, small_ova

MEMORY_LIMIT = 150 * MIB
SIZE = 24 * MIB + SECTOR
USED = [0, 3, 5, 100, 200, 383, 384]
READS_OF_STDIN = (["0", "0x0"], ["63", "0x0"])
"""Number and first argument of the system call, on x86-64 and ARM."""

TRUNCATED = "The file is incomplete: copy or download it again."


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disk whose size is no multiple of a grain."""
    return random_disk(tmp_path_factory.mktemp("disks") / "d.raw", SIZE, USED)


@pytest.fixture
def stored(request: pytest.FixtureRequest, raw: Path) -> bytes:
    """The disk as the parameter names it."""
    match request.param:
        case "raw":
            return raw.read_bytes()
        case "qemu-img":
            return convert(raw, raw.with_name("d.vmdk"), "vmdk", "subformat=streamOptimized").read_bytes()
        case _:
            grains = {number: raw.read_bytes()[number << 16 : (number + 1) << 16] for number in USED}
            order = sorted if request.param == "vmware" else (lambda numbers: numbers[::-1])
            return sparse_vmdk(SIZE // SECTOR, grains, order=order, padding=3000)


@pytest.mark.parametrize("stored", ["raw", "qemu-img", "vmware", "out of order"], indirect=True)
@pytest.mark.parametrize("image_format", ["qcow2", "raw"])
@pytest.mark.parametrize("manifest", ["first", "last"])
def test_a_disk_out_of_a_pipe_is_that_of_the_file(
    tmp_path: Path, raw: Path, stored: bytes, image_format: str, manifest: str
) -> None:
    members = [("a.ovf", descriptor([("a.vmdk", len(stored))], capacity=str(SIZE))), ("a.vmdk", stored)]
    late = [*members, ("a.mf", manifest_for(members))]
    ova = build_ova(tmp_path / "a.ova", with_manifest(members) if manifest == "first" else late)
    done = piped(ova.read_bytes(), "convert", "-", tmp_path / "out", "--format", image_format, "--json")
    assert done.returncode == 0, done.stderr
    assert (json_of(done)["trust"], json_of(done)["capacity_bytes"]) == ("digests", SIZE)
    assert "identical" in qemu_img("compare", "-f", "raw", "-F", image_format, raw, tmp_path / "out")
    if image_format == "qcow2":
        assert json.loads(qemu_img("check", "--output=json", tmp_path / "out"))["check-errors"] == 0


class TestEveryVerb:
    @pytest.fixture
    def data(self, tmp_path: Path) -> bytes:
        path = small_ova(tmp_path / "small.ova")
        data = path.read_bytes()
        path.unlink()
        return data

    def test_install(self, tmp_path: Path, data: bytes) -> None:
        done = piped(data, "install", "-", "-c", f"dir:{tmp_path}/m", "--json")
        assert (done.returncode, json_of(done)["trust"]) == (0, "digests")
        assert is_installed(tmp_path / "m")

    def test_install_a_gzipd_ova_by_its_path(self, tmp_path: Path, data: bytes) -> None:
        (tmp_path / "a.ova.gz").write_bytes(gzip.compress(data))
        done = run_virt_ova("install", tmp_path / "a.ova.gz", "-c", f"dir:{tmp_path}/m", "--json")
        assert (done.returncode, json_of(done)["trust"]) == (0, "digests")
        assert is_installed(tmp_path / "m")

    def test_install_from_a_redirected_file_reads_it_in_places(self, tmp_path: Path, data: bytes) -> None:
        path = tmp_path / "a.ova"
        path.write_bytes(data)
        with path.open() as stdin:
            words = command("install", "-", "-c", f"dir:{tmp_path}/m", "--disk-mode", "transplant", "--json")
            done = subprocess.run(words, stdin=stdin, capture_output=True, text=True, check=False, env=environment())
        assert done.returncode == 0, done.stderr
        assert [volume["mode"] for volume in json_of(done)["volumes"]] == ["transplant"]

    def test_disks_and_verify_read_all(self, tmp_path: Path, data: bytes) -> None:
        path = tmp_path / "a.ova"
        path.write_bytes(data)
        for verb in ("disks", "verify"):
            assert piped(data, verb, "-", "--json").stdout == run_virt_ova(verb, path, "--json").stdout

    def test_descriptor_inspect_and_plan_read_the_beginning(self, tmp_path: Path, data: bytes) -> None:
        beginning = data[: data.index(b"KDMV")]
        assert piped(beginning, "descriptor", "-").stdout.encode() == small_members()[0][1]
        inspected = json_of(piped(beginning, "inspect", "-", "--json"))
        assert [disk["file_offset"] for disk in inspected["disks"]] == [None]
        assert [finding["code"] for finding in inspected["findings"]] == ["PKG_BEGINNING"]
        plan = tmp_path / "plan.json"
        plan.write_text(piped(beginning, "plan", "-", "-c", f"dir:{tmp_path}/m").stdout)
        assert piped(data, "install", "-", "-c", f"dir:{tmp_path}/m", "--plan", plan).returncode == 0
        assert is_installed(tmp_path / "m")

    def test_a_dry_run_writes_nothing(self, tmp_path: Path, data: bytes) -> None:
        done = piped(data, "install", "-", "-c", f"dir:{tmp_path}/m", "--dry-run")
        assert done.returncode == 0, done.stderr
        assert listing(tmp_path) == []


class TestFailures:
    def test_a_sender_that_dies(self, tmp_path: Path) -> None:
        data = small_ova(tmp_path / "a.ova").read_bytes()
        (tmp_path / "a.ova").unlink()
        size = data.index(b"KDMV") + 70_000
        done = piped(data[:size], "install", "-", "-c", f"dir:{tmp_path}/m")
        end = data.index(b"KDMV") + len(small_members()[1][1])
        message = f"'standard input' ends at byte {size}, expected at least {end} bytes"
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.endswith(error_lines("E_SOURCE_TRUNCATED", message, TRUNCATED))
        assert listing(tmp_path) == []

    def test_a_sender_that_sends_nothing(self, tmp_path: Path) -> None:
        done = piped(b"", "install", "-", "-c", f"dir:{tmp_path}/m")
        assert "'standard input' is empty, expected an OVA (a tar) [E_NOT_OVA]" in done.stderr
        assert done.returncode == 1

    @pytest.mark.parametrize("place", ["before the disk", "within the disk"])
    @pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_ends_the_wait_for_a_sender_that_stalls(
        self, tmp_path: Path, place: str, signum: signal.Signals
    ) -> None:
        data = small_ova(tmp_path / "a.ova").read_bytes()
        (tmp_path / "a.ova").unlink()
        size = data.index(b"KDMV") + (70_000 if place == "within the disk" else -200)
        words = command("install", "-", "-c", f"dir:{tmp_path}/m")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(words, env=environment(), **pipes) as run:  # type: ignore[call-overload]
            run.stdin.write(data[:size])
            run.stdin.flush()
            _wait_until_it_waits(run.pid)
            run.send_signal(signum)
            assert run.wait(10) == 128 + signum
            assert f"stopped by {signum.name} [E_INTERRUPTED]" in run.stderr.read().decode()
        assert listing(tmp_path) == []


def _wait_until_it_waits(pid: int) -> None:
    """Until the process sleeps in a read of the pipe, all it was sent taken."""
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}/syscall").read_text().split()[:2] not in READS_OF_STDIN:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A package of some hundred megabytes, out of noise."""
    folder = tmp_path_factory.mktemp("large")
    noise = os.urandom(8 * MIB)
    disk = noise * 30
    members = [("a.ovf", descriptor([("a.img", len(disk))], capacity=str(len(disk)))), ("a.img", disk)]
    ova = build_ova(folder / "a.ova", [*members, ("a.mf", manifest_for(members))])
    yield ova
    ova.unlink()


@pytest.mark.parametrize("packed", [False, True])
def test_memory_is_bounded(tmp_path: Path, large: Path, *, packed: bool) -> None:
    sent = large
    if packed:
        sent = tmp_path / "a.ova.gz"
        with large.open("rb") as plain, gzip.open(sent, "wb", compresslevel=0) as stored:
            shutil.copyfileobj(plain, stored, MIB)
    with subprocess.Popen(["cat", sent], stdout=subprocess.PIPE) as sender:
        words = [sys.executable, "-c", PEAK, "convert", "-", str(tmp_path / "out")]
        done = subprocess.run(words, stdin=sender.stdout, capture_output=True, check=False, env=environment())
    assert done.returncode == 0, done.stderr
    assert int(done.stderr.rpartition(b"peak ")[2]) * KIB < MEMORY_LIMIT
    assert (tmp_path / "out").stat().st_size > 200 * MIB

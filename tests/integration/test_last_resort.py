"""Bugs, exhausted memory, signals at the beginning and at the end: one line, a status, and nothing is left."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.build.command import command, environment, error_lines, json_of, virt_ova
from tests.build.disks import KIB, MIB, SECTOR, sparse_vmdk
from tests.build.ova import build_ova, descriptor, with_manifest
from tests.build.small import is_installed, listing, small_ova

BUG = """
import sys
from virt_ova.cli import main
from virt_ova.disk.sink import FileSink

def finish(*_):
    raise KeyError("https://user:secret@host/\\x1b[31m")

FileSink.finish = finish
sys.exit(main(sys.argv[1:]))
"""
BUG_ERROR = (
    "E_INTERNAL",
    r"internal error: KeyError: 'https://user@host/\x1b[31m'",
    "This is a bug: please report it, with what is printed when VIRT_OVA_DEBUG=1 is in the environment.",
)

HUNGRY = """
import resource, sys
from virt_ova.cli import main
from virt_ova.disk.sink import FileSink

def finish(*_):
    limit = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() + (megabytes << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    crumbs = []
    while True:
        crumbs.append([crumbs])

megabytes = int(sys.argv.pop(1))
FileSink.finish = finish
sys.exit(main(sys.argv[1:]))
"""

STARVED = """
import resource, sys
from virt_ova.cli import main
from virt_ova.disk.sink import FileSink

def starve(*values):
    begin(*values)
    limit = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() + (megabytes << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

megabytes = int(sys.argv.pop(1))
begin, FileSink.__init__ = FileSink.__init__, starve
sys.exit(main(sys.argv[1:]))
"""

STRUCK_WHILE_LOADING = """
import os, sys

class Strike:
    def find_spec(self, name, *_):
        if name == module:
            os.kill(os.getpid(), 2)

module = sys.argv.pop(1)
sys.meta_path.insert(0, Strike())
from virt_ova.cli import main
sys.exit(main(sys.argv[1:]))
"""

STRUCK_AT_THE_END = """
import atexit, os, sys
from virt_ova.cli import main

class Last:
    def __del__(self):
        os.kill(os.getpid(), 2)

atexit.register(os.kill, os.getpid(), 2)
last = Last()
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def ova(tmp_path: Path) -> Path:
    return small_ova(tmp_path / "a.ova")


def run(program: str, *words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env=environment(**variables),
    )


class TestBug:
    def test_it_is_told_in_one_line_and_nothing_is_left(self, ova: Path) -> None:
        done = run(BUG, "install", ova, "-c", f"dir:{ova.parent}/m")
        told = "Copying a1.vmdk (70.5 KiB)\nRemoved volume vm-disk1.qcow2\n"
        assert (done.stdout, done.stderr, done.returncode) == ("", told + error_lines(*BUG_ERROR), 1)
        assert listing(ova.parent) == ["a.ova"]

    def test_it_is_told_in_json_and_in_the_report(self, ova: Path) -> None:
        report = ova.parent / "r.json"
        done = run(BUG, "install", ova, "-c", f"dir:{ova.parent}/m", "--json", "--report", report)
        code, message, hint = BUG_ERROR
        assert json_of(done) == {"error": {"code": code, "message": message, "hint": hint}}
        assert report.read_text() == done.stdout

    def test_it_is_traced_when_that_is_wanted(self, ova: Path) -> None:
        done = run(BUG, "convert", ova, ova.parent / "d.raw", VIRT_OVA_DEBUG="1")
        assert "Traceback (most recent call last):\n" in done.stderr
        assert done.stderr.endswith(error_lines(*BUG_ERROR))
        assert (done.returncode, listing(ova.parent)) == (1, ["a.ova"])

    def test_an_error_of_ours_is_never_traced(self, ova: Path) -> None:
        done = virt_ova("convert", ova, ova, VIRT_OVA_DEBUG="1")
        assert (done.returncode, "Traceback" in done.stderr) == (1, False)


@pytest.mark.parametrize("megabytes", [1, 2, 4, 8, 16, 32, 64])
def test_where_memory_runs_out_all_is_taken_back(ova: Path, megabytes: int) -> None:
    done = run(HUNGRY, str(megabytes), "convert", ova, ova.parent / "d.raw", "--json")
    hint = "Raise the limit on this process (ulimit -v, a container's), or end other programs."
    error = error_lines("E_MEMORY", "there is not enough memory", hint)
    assert (done.stderr, done.returncode) == (f"Removed file {ova.parent}/d.raw\n{error}", 1)
    assert json_of(done)["error"]["code"] == "E_MEMORY"
    assert listing(ova.parent) == ["a.ova"]


@pytest.mark.parametrize("megabytes", [0, 4, 8, 16])
def test_where_no_thread_can_begin_it_ends_at_once(ova: Path, megabytes: int) -> None:
    done = run(STARVED, str(megabytes), "convert", ova, ova.parent / "d.raw", "--json")
    assert (done.returncode, json_of(done)["error"]["code"]) == (1, "E_MEMORY")
    assert listing(ova.parent) == ["a.ova"]


@pytest.mark.timeout(1200)
def test_with_more_and_more_memory(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """From what does for no start to what does for all: one error, or success, and never a wait without end."""
    grains = {number: os.urandom(64 * KIB) for number in range(16 * MIB // (64 * KIB))}
    disk = sparse_vmdk(16 * MIB // SECTOR, grains)
    members = [("a.ovf", descriptor([("a1.vmdk", len(disk))], capacity=str(16 * MIB))), ("a1.vmdk", disk)]
    ova, outcomes = build_ova(tmp_path / "a.ova", with_manifest(members)), set()
    step = 250 * KIB if request.config.getoption("--long") else 10 * MIB
    for limit in range(40 * MIB, 140 * MIB, step):
        prlimit = ["/usr/bin/prlimit", f"--as={limit}", "--"]
        words = [*prlimit, *command("install", ova, "-c", f"dir:{tmp_path}/m", "--json")]
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment(), timeout=60)
        outcomes.add(done.returncode)
        if done.returncode == 0:
            shutil.rmtree(tmp_path / "m")
        else:
            assert "not enough memory" in done.stderr or "Cannot allocate memory" in done.stderr, limit
        assert listing(tmp_path) == ["a.ova"], limit
    assert outcomes == {0, 1}


@pytest.mark.parametrize(
    "module",
    ["virt_ova.cli.command", "argparse", "virt_ova.cli.install", "msgspec", "virt_ova.target.directory", "libvirt"],
)
def test_a_signal_while_modules_are_loaded(ova: Path, module: str) -> None:
    uri = "test:///default" if module == "libvirt" else f"dir:{ova.parent}/m"
    done = run(STRUCK_WHILE_LOADING, module, "install", ova, "-c", uri, "--json")
    assert (done.stderr, done.returncode) == (error_lines("E_INTERRUPTED", "stopped by SIGINT"), 130)
    assert json_of(done)["error"]["code"] == "E_INTERRUPTED"
    assert listing(ova.parent) == ["a.ova"]


def test_a_signal_at_the_end_changes_nothing(ova: Path) -> None:
    done = run(STRUCK_AT_THE_END, "install", ova, "-c", f"dir:{ova.parent}/m")
    assert (done.returncode, is_installed(ova.parent / "m")) == (0, True)
    done = run(STRUCK_AT_THE_END, "inspect", ova.parent / "none.ova")
    message = f"'{ova.parent}/none.ova' cannot be opened: No such file or directory"
    assert done.stderr == error_lines("E_SOURCE_OPEN", message, "Check the path and its permissions.")
    assert done.returncode == 1


def test_signals_come_through_once_the_verb_works(ova: Path) -> None:
    fifo = ova.parent / "fifo"
    os.mkfifo(fifo)
    writer = os.open(fifo, os.O_RDWR)
    command = [sys.executable, "-m", "virt_ova.cli", "inspect", "-"]
    with (
        fifo.open("rb") as package,
        subprocess.Popen(command, stdin=package, stderr=subprocess.DEVNULL, env=environment()) as process,
    ):
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 128 + signal.SIGTERM
    os.close(writer)


def test_an_error_that_nobody_reads_in_json(ova: Path) -> None:
    for output, status in (("/dev/full", 1), ("|", 128 + signal.SIGPIPE)):
        sink = subprocess.Popen(["true"], stdin=subprocess.PIPE) if output == "|" else None
        if sink:
            sink.wait()
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "virt_ova.cli", "inspect", ova.parent / "none", "--json"],
                stdout=sink.stdin if sink else full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
                env=environment(),
            )
        if sink and sink.stdin:
            sink.stdin.close()
        message = f"'{ova.parent}/none' cannot be opened: No such file or directory"
        told = error_lines("E_SOURCE_OPEN", message, "Check the path and its permissions.")
        assert (done.stderr, done.returncode) == (told, status)


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["install", "--help"]])
def test_a_short_answer_that_cannot_be_written(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "virt_ova.cli", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=environment(),
        )
    error = error_lines("E_OUTPUT", "the result cannot be written: No space left on device")
    assert (done.stderr, done.returncode) == (error, 1)

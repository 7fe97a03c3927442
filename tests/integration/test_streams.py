"""The command line on streams that are closed, full or a terminal."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from tests.build.command import command, environment, error_lines
from tests.build.faults import run_failing
from tests.build.small import damaged_ova, is_installed, listing, small_ova


@pytest.fixture
def ova(tmp_path: Path) -> Path:
    return small_ova(tmp_path / "a.ova")


class TestStreams:
    """Streams that are closed, full or a terminal."""

    def test_nobody_reads_the_result(self, ova: Path) -> None:
        process = subprocess.Popen(
            command("inspect", ova), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), text=True
        )
        assert process.stdout
        process.stdout.close()
        _, told = process.communicate()
        assert (told, process.returncode) == ("", 141)

    def test_nobody_reads_the_progress_and_the_machine_is_installed(self, ova: Path, tmp_path: Path) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        words = command("install", ova, "-c", f"dir:{tmp_path}/m")
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=writer, env=environment(), check=False)
        os.close(writer)
        assert done.returncode == 0
        assert is_installed(tmp_path / "m")

    def test_nobody_reads_the_progress_and_a_failure_is_taken_back(self, tmp_path: Path) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        words = command("install", damaged_ova(tmp_path / "a.ova"), "-c", f"dir:{tmp_path}/m")
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=writer, env=environment(), check=False)
        os.close(writer)
        assert (done.returncode, listing(tmp_path)) == (1, ["a.ova"])

    @pytest.mark.parametrize("more", [[], ["--json"]])
    def test_the_result_cannot_be_written(self, ova: Path, more: list[str]) -> None:
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                command("inspect", ova, *more),
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                env=environment(),
                check=False,
            )
        assert done.stderr == error_lines("E_OUTPUT", "the result cannot be written: No space left on device")
        assert done.returncode == 1

    @pytest.mark.parametrize("more", [[], ["--json"]])
    def test_nothing_can_be_written_anywhere(self, tmp_path: Path, more: list[str]) -> None:
        assert run_failing(["write:error=EIO:when=1+"], "inspect", tmp_path / "none", *more).returncode == 1

    @pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
    def test_closed_streams(self, ova: Path, tmp_path: Path, closed: str) -> None:
        words = command("install", ova, "-c", f"dir:{tmp_path}/m")
        done = subprocess.run(["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *words], env=environment(), check=False)
        assert done.returncode == 0
        assert is_installed(tmp_path / "m")

    @pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1"}])
    def test_bars_on_a_terminal(self, ova: Path, tmp_path: Path, variables: dict[str, str]) -> None:
        shown, status = on_a_terminal("install", ova, "-c", f"dir:{tmp_path}/m", **variables)
        assert status == 0
        assert re.search(r"Copying a1.vmdk .*70.5 KiB of 70.5 KiB", shown)
        colors = re.findall(r"\x1b\[[0-9;]*(?:3|9)[0-7]m", shown)
        assert bool(colors) is not bool(variables)

    def test_what_was_removed_stands_above_the_bars(self, tmp_path: Path) -> None:
        shown, status = on_a_terminal("install", damaged_ova(tmp_path / "a.ova"), "-c", f"dir:{tmp_path}/m")
        assert status == 1
        assert "Removed volume vm-disk1.qcow2\r\n" in shown
        assert "[E_DIGEST]\r\n  hint: " in shown

    def test_a_dumb_terminal_gets_lines_without_escapes(self, ova: Path, tmp_path: Path) -> None:
        shown, status = on_a_terminal("install", ova, "-c", f"dir:{tmp_path}/m", TERM="dumb")
        assert (status, "\x1b" in shown) == (0, False)

    def test_a_terminal_that_goes_away_stops_no_install(self, ova: Path, tmp_path: Path) -> None:
        master, slave = pty.openpty()
        process = subprocess.Popen(
            command("install", ova, "-c", f"dir:{tmp_path}/m"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=slave,
            env=environment(TERM="xterm"),
        )
        os.close(slave)
        os.close(master)
        assert process.wait() == 0
        assert is_installed(tmp_path / "m")


def on_a_terminal(*words: str | Path, **variables: str) -> tuple[str, int]:
    """What the command line shows on a terminal that is its stderr, and its status."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        command(*words),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=slave,
        env=environment(**{"TERM": "xterm", "COLUMNS": "100", **variables}),
    )
    os.close(slave)
    shown = bytearray()
    while data := read_terminal(master):
        shown += data
    os.close(master)
    return shown.decode(), process.wait()


def read_terminal(master: int) -> bytes:
    """Some of what is shown; nothing once nobody has the terminal open."""
    try:
        return os.read(master, 65536)
    except OSError:
        return b""

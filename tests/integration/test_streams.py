"""The command line on streams that are closed, full or a terminal."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.build.command import command, environment, error_lines
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

    @pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
    def test_closed_streams(self, ova: Path, tmp_path: Path, closed: str) -> None:
        words = command("install", ova, "-c", f"dir:{tmp_path}/m")
        done = subprocess.run(["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *words], env=environment(), check=False)
        assert done.returncode == 0
        assert is_installed(tmp_path / "m")

"""Programs: found, bounded, and never outliving us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest

from virt_ova.errors import ToolError
from virt_ova.process import STDERR_BYTES, STDOUT_BYTES, find, run, started


def test_output_is_captured_and_the_locale_is_fixed() -> None:
    done = run(["sh", "-c", "echo out; echo err >&2; echo $LC_ALL"], package="dash")
    assert (done.status, done.stdout, done.stderr) == (0, b"out\nC\n", "err")


def test_programs_are_not_told_what_is_said_to_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRT_OVA_PROPERTY_PASSWORD", "hunter2")
    monkeypatch.setenv("OTHER", "kept")
    shown = run(["env"], package="coreutils").stdout.splitlines()
    assert b"OTHER=kept" in shown
    assert not [line for line in shown if b"hunter2" in line]


def test_stdin_is_empty() -> None:
    assert run(["cat"], package="coreutils").stdout == b""


def test_a_missing_program_names_its_package() -> None:
    with pytest.raises(ToolError, match=r"^the program no-such-program is not installed$") as caught:
        run(["no-such-program"], package="some-package")
    assert caught.value.code == "E_TOOL_MISSING"
    assert caught.value.hint == "Install it: apt install some-package"


def test_a_failure_carries_what_the_program_said_escaped() -> None:
    with pytest.raises(ToolError) as caught:
        run(["sh", "-c", "printf 'one\\n\\ntwo\\033[31m\\n' >&2; exit 3"], package="dash")
    assert caught.value.code == "E_TOOL_FAILED"
    assert str(caught.value) == "sh failed (3): one; two\\x1b[31m"


def test_a_silent_failure_says_so() -> None:
    with pytest.raises(ToolError, match=r"^false failed \(1\): it gave no reason$"):
        run(["false"], package="coreutils")


def test_a_failure_may_be_an_answer() -> None:
    assert run(["false"], package="coreutils", check=False).status == 1


def test_a_killed_program_names_the_signal() -> None:
    with pytest.raises(ToolError, match=r"^sh was killed by signal 9: it gave no reason$"):
        run(["sh", "-c", "kill -9 $$"], package="dash")


def test_time_is_bounded() -> None:
    begun = time.monotonic()
    with pytest.raises(ToolError, match=r"^sleep did not finish within 0\.2 s$") as caught:
        run(["sleep", "60"], package="coreutils", timeout_seconds=0.2)
    assert caught.value.code == "E_TOOL_FAILED"
    assert time.monotonic() - begun < 10


def test_processor_time_is_bounded() -> None:
    with pytest.raises(ToolError, match=r"^sh was killed by signal (9|24): "):
        run(["sh", "-c", "while :; do :; done"], package="dash", cpu_seconds=1, timeout_seconds=60)


def test_complaints_are_bounded_to_their_end() -> None:
    done = run(["sh", "-c", "yes bad | head -c 300000 >&2; printf last >&2"], package="dash")
    assert len(done.stderr) < 3 * STDERR_BYTES
    assert done.stderr.endswith("bad; last")


def test_output_is_bounded_to_its_beginning() -> None:
    done = run(["head", "-c", str(STDOUT_BYTES + 1000), "/dev/zero"], package="coreutils")
    assert len(done.stdout) == STDOUT_BYTES


def test_the_folder_can_be_chosen(tmp_path: Path) -> None:
    assert run(["pwd"], package="coreutils", cwd=tmp_path).stdout.decode().strip() == str(tmp_path)


def test_a_path_is_found_as_it_stands() -> None:
    assert find("/bin/sh", package="dash") == "/bin/sh"


def test_a_program_dies_with_us(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = (
        f"from virt_ova.process import run; run(['sh', '-c', 'echo $$ > {pid_file}; exec sleep 60'], package='dash')"
    )
    with subprocess.Popen([sys.executable, "-c", script]) as parent:
        while not pid_file.exists() or not pid_file.read_text().strip():
            time.sleep(0.02)
        child = int(pid_file.read_text())
        parent.kill()
    for _ in range(250):
        if not _is_running(child):
            return
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    pytest.fail("the child outlived its parent")


def _is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_a_program_is_talked_with() -> None:
    with started(["cat"], package="coreutils", timeout_seconds=10) as running:
        running.write("one\n")
        assert running.read() == b"one\n"
        running.write("two\n")
        assert running.read() == b"two\n"
        running.finish(timeout_seconds=10)


def test_a_program_may_read_a_file_from_where_it_stands(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one\ntwo\n")
    with (tmp_path / "a").open("rb", buffering=0) as file:
        file.seek(4)
        with started(["cat"], package="coreutils", timeout_seconds=10, stdin=file) as running:
            assert (running.read(), running.read()) == (b"two\n", b"")


def test_a_program_that_ends_says_why() -> None:
    with started(["sh", "-c", "echo no >&2; exit 3"], package="dash", timeout_seconds=10) as running:
        assert running.read() == b""
        failure = running.failure()
        assert (failure.code, str(failure)) == ("E_TOOL_FAILED", "sh failed (3): no")
        with pytest.raises(ToolError, match=r"^sh failed \(3\): no$"):
            running.write("anything\n")


def test_a_program_that_says_nothing_is_not_waited_for_and_does_not_stay(tmp_path: Path) -> None:
    with (
        pytest.raises(ToolError, match=r"^sh did not finish within 0\.2 s$"),
        started(
            ["sh", "-c", f"echo $$ >{tmp_path}/pid; echo a >&2; exec sleep 60"], package="dash", timeout_seconds=0.2
        ) as running,
    ):
        running.read()
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()


def test_a_program_that_never_stops_talking_is_not_listened_to_for_ever() -> None:
    with started(["yes"], package="coreutils", timeout_seconds=0.2) as running:
        assert running.read()
        time.sleep(0.3)
        with pytest.raises(ToolError, match=r"^yes did not finish within 0\.2 s$"):
            running.read()


def test_what_a_program_says_at_its_end_is_not_kept() -> None:
    with started(["yes"], package="coreutils", timeout_seconds=10) as running:
        tracemalloc.start()
        try:
            running.finish(timeout_seconds=0.3)
            assert tracemalloc.get_traced_memory()[1] < 4 << 20
        finally:
            tracemalloc.stop()


def test_what_a_program_started_does_not_stay(tmp_path: Path) -> None:
    leaves_one = ["sh", "-c", "sleep 60 & echo $! | tee pid; wait"]
    with started(leaves_one, package="dash", timeout_seconds=30, cwd=tmp_path) as running:
        other = int(running.read())
    assert not _is_running(other)
    with pytest.raises(ToolError, match=r"^sh did not finish within 0\.3 s$"):
        run(leaves_one, package="dash", timeout_seconds=0.3, cwd=tmp_path)
    assert not _is_running(int((tmp_path / "pid").read_text()))

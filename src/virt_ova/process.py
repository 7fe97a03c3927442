"""The only place that starts programs.

No shell, arguments as a list, nothing read from the terminal. A program runs under ``setpriv --pdeathsig`` (util-linux)
and so dies with us however we end; it is killed when its time is over, with what it started, for which it has a process
group; what it prints is taken with a bound, whatever it prints. Arguments may be secret, so messages name the program
alone.
"""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from virt_ova.errors import ToolError
from virt_ova.text import printable

STDERR_BYTES: Final = 4096
"""Most bytes of stderr that are kept: the last ones."""

STDOUT_BYTES: Final = 16 << 20
"""Most bytes of stdout that are kept: the first ones."""

_CHUNK_BYTES: Final = 65536
_END_SECONDS: Final = 5
"""How long a program may take to end that says nothing any more, or was killed."""

_POLL_SECONDS: Final = 0.01


@dataclass(frozen=True, kw_only=True, slots=True)
class Completed:
    """A program that has ended.

    Attributes:
        status: its exit status; negative for the signal that killed it.
        stdout: what it printed, at most `STDOUT_BYTES`.
        stderr: the end of what it complained about, escaped, lines joined by ``; ``.
    """

    status: int
    stdout: bytes
    stderr: str


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    package: str,
    timeout_seconds: float = 60,
    cpu_seconds: int | None = None,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    check: bool = True,
    keeps: Sequence[int] = (),
) -> Completed:
    """Run a program to its end.

    Args:
        argv: the program, by name or path, and its arguments.
        package: the Debian package that has it, for the hint when it is missing.
        timeout_seconds: it is killed when it takes longer.
        cpu_seconds: it is killed when it uses more processor time; no limit when None.
        cwd: where it runs; here when None.
        environment: variables that it has besides ours.
        check: whether a status other than 0 is an error.
        keeps: descriptors that it has as well.

    Raises:
        ToolError: it is missing (``E_TOOL_MISSING``), or failed or took too long (``E_TOOL_FAILED``).
    """
    name, command = os.path.basename(argv[0]), _command(argv, package, cpu_seconds)  # noqa: PTH119 - argv may be str
    with _begun(command, stdin=subprocess.DEVNULL, cwd=cwd, environment=environment, keeps=keeps) as process:
        try:
            stdout, stderr = _drain(process, time.monotonic() + timeout_seconds)
            status = process.wait()
        except TimeoutError as exc:
            raise _overdue(name, timeout_seconds) from exc
        finally:
            _end(process)
    completed = Completed(status=status, stdout=stdout, stderr=_one_line(stderr))
    if check and status != 0:
        raise _failure(name, completed)
    return completed


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill it, if it has not ended by itself, with all in its process group; nothing of that runs any more then."""
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGKILL)
    deadline = time.monotonic() + _END_SECONDS
    while _has_members(process.pid) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def _has_members(group: int) -> bool:
    """Whether a process of the group runs; one that has ended may stay until its parent looks after it."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, its_group, *_ = status.read_text(errors="replace").rpartition(")")[2].split()
            if int(its_group) == group and state not in {"Z", "X"}:
                return True
    return False


class Running:
    """A program that runs, is written to, and is read from; see `started`."""

    def __init__(self, process: subprocess.Popen[bytes], name: str, *, deadline: float, seconds: float) -> None:
        """Talk with `process`, called `name`, until `deadline`, which is `seconds` after its start."""
        self._process, self._name, self._deadline, self._seconds = process, name, deadline, seconds
        self._stderr = bytearray()

    def write(self, text: str) -> None:
        """Write to its standard input. Raises `ToolError` when it has ended."""
        try:
            _required(self._process.stdin).write(text.encode())
        except BrokenPipeError as exc:
            raise self.failure() from exc

    def read(self) -> bytes:
        """The next bytes of its standard output, at most 64 KiB; none at the end. Raises `ToolError`."""
        stdout, stderr = _required(self._process.stdout), _required(self._process.stderr)
        if time.monotonic() > self._deadline:  # also for one that always has more to say
            raise _overdue(self._name, self._seconds)
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            selector.register(stderr, selectors.EVENT_READ)
            while ready := selector.select(max(0.0, self._deadline - time.monotonic())):
                for key, _ in ready:
                    chunk = os.read(key.fd, _CHUNK_BYTES)
                    if key.fileobj is stdout:
                        return chunk
                    self._stderr = (self._stderr + chunk)[-STDERR_BYTES:]
                    if not chunk:
                        selector.unregister(stderr)
        raise _overdue(self._name, self._seconds)

    def finish(self, *, timeout_seconds: float) -> None:
        """Close its standard input, and let it end by itself if it does so in time; what it goes on saying is lost."""
        self._deadline, self._seconds = time.monotonic() + timeout_seconds, timeout_seconds
        _required(self._process.stdin).close()
        with suppress(subprocess.TimeoutExpired, ToolError):
            while self.read():
                pass
            self._process.wait(max(0.0, self._deadline - time.monotonic()))

    def failure(self) -> ToolError:
        """The error for its having ended; for one that has closed its standard output."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        _end(self._process)
        said = self.complaints()
        return _failure(self._name, Completed(status=self._process.wait(), stdout=b"", stderr=said))

    def complaints(self) -> str:
        """The end of what it has complained about so far, as in `Completed`."""
        stderr = _required(self._process.stderr)
        os.set_blocking(stderr.fileno(), False)  # whatever it started may have it open for long
        with suppress(BlockingIOError):
            while chunk := os.read(stderr.fileno(), _CHUNK_BYTES):
                self._stderr = (self._stderr + chunk)[-STDERR_BYTES:]
        return _one_line(self._stderr)


@contextmanager
def started(
    argv: Sequence[str | os.PathLike[str]],
    *,
    package: str,
    timeout_seconds: float,
    stdin: IO[bytes] | None = None,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Running]:
    """Run a program as long as the context lasts; it is killed at the end.

    Args:
        argv: as for `run`.
        package: as for `run`.
        timeout_seconds: for all that is read from it.
        stdin: a file that it reads; when None, what `Running.write` is given.
        cwd: as for `run`.
        environment: as for `run`.

    Raises:
        ToolError: it is missing (``E_TOOL_MISSING``).
    """
    name, command = os.path.basename(argv[0]), _command(argv, package, None)  # noqa: PTH119 - argv may be str
    given = subprocess.PIPE if stdin is None else stdin
    with _begun(command, stdin=given, cwd=cwd, environment=environment) as process:
        try:
            deadline = time.monotonic() + timeout_seconds
            yield Running(process, name, deadline=deadline, seconds=timeout_seconds)
        finally:
            _end(process)


def _begun(
    command: list[str],
    *,
    stdin: int | IO[bytes],
    cwd: Path | None,
    environment: Mapping[str, str] | None,
    keeps: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """The process of `command`, which `_command` gave; nothing that is said to it or that it says is buffered here."""
    return subprocess.Popen(  # noqa: S603 - a list of arguments, the program found by `_command`
        command,
        bufsize=0,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env=_environment() | dict(environment or {}),
        pass_fds=keeps,
        process_group=0,
    )


def _environment() -> dict[str, str]:
    """Ours in English, without what is said to us alone: values of properties are there, passwords among them."""
    return {name: text for name, text in os.environ.items() if not name.startswith("VIRT_OVA_")} | {"LC_ALL": "C"}


def find(program: str, *, package: str) -> str:
    """The path of `program`.

    Raises:
        ToolError: there is none (``E_TOOL_MISSING``); the hint names `package`.
    """
    if (path := shutil.which(program)) is None:
        raise ToolError(
            f"the program {program} is not installed",
            code="E_TOOL_MISSING",
            hint=f"Install it: apt install {package}",
        )
    return path


def _command(argv: Sequence[str | os.PathLike[str]], package: str, cpu_seconds: int | None) -> list[str]:
    """`argv` behind the programs that bind its life to ours."""
    program, *arguments = (os.fspath(part) for part in argv)
    limits = [find("prlimit", package="util-linux"), f"--cpu={cpu_seconds}", "--"] if cpu_seconds else []
    leash = [find("setpriv", package="util-linux"), "--pdeathsig", "KILL", "--"]
    return [*leash, *limits, find(program, package=package), *arguments]


def _drain(process: subprocess.Popen[bytes], deadline: float) -> tuple[bytes, bytes]:
    """The beginning of stdout and the end of stderr, read until both are closed."""
    stdout, stderr = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        for stream, kept in ((process.stdout, stdout), (process.stderr, stderr)):
            selector.register(_required(stream), selectors.EVENT_READ, kept)
        while selector.get_map():
            if not (ready := selector.select(max(0.0, deadline - time.monotonic()))):
                raise TimeoutError
            for key, _ in ready:
                chunk = os.read(key.fd, _CHUNK_BYTES)
                if not chunk:
                    selector.unregister(key.fileobj)
                key.data.extend(chunk)
            del stdout[STDOUT_BYTES:]
            del stderr[:-STDERR_BYTES]
    return bytes(stdout), bytes(stderr)


def _required(stream: IO[bytes] | None) -> IO[bytes]:
    """A pipe that was asked for and is therefore there."""
    assert stream is not None  # noqa: S101 - told to the type checker
    return stream


def _one_line(stderr: bytes | bytearray) -> str:
    """What a program complained about, on one line."""
    lines = stderr.decode(errors="replace").splitlines()
    return "; ".join(printable(line, limit=STDERR_BYTES) for line in lines if line.strip())


def _overdue(name: str, seconds: float) -> ToolError:
    return ToolError(f"{name} did not finish within {seconds:g} s", code="E_TOOL_FAILED")


def _failure(name: str, completed: Completed) -> ToolError:
    """The error for a program that did not succeed."""
    ended = f"was killed by signal {-completed.status}" if completed.status < 0 else f"failed ({completed.status})"
    said = completed.stderr or "it gave no reason"
    return ToolError(f"{name} {ended}: {said}", code="E_TOOL_FAILED")

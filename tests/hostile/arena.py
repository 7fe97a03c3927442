"""Where hostile packages are let loose, and who watches.

One process under strace forks for every run, so that each call that opens, makes, renames or removes a file, opens a
socket or starts a program is seen as the kernel sees it. Around a run stand a file that must stay unread, and a tree
that must stay as it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from tests.build.command import environment
from tests.build.small import is_installed, small_ova
from tests.hostile.recipe import Stage
from virt_ova.units import KIB, MIB

MAX_STDERR_BYTES: Final = 4 * KIB
MAX_PEAK_BYTES: Final = 100 * MIB
MAX_SECONDS: Final = 10.0

_OPENING: Final = ("open", "openat", "openat2", "creat")
_CHANGING: Final = (
    *("mkdir", "mkdirat", "mknod", "mknodat", "rename", "renameat", "renameat2", "link", "linkat", "symlink"),
    *("symlinkat", "unlink", "unlinkat", "rmdir", "chmod", "fchmodat", "chown", "lchown", "fchownat", "truncate"),
)
_SOCKETS: Final = ("socket", "connect")
_STARTING: Final = ("execve", "execveat")
_TRACED: Final = ",".join(("fork", "vfork", *_OPENING, *_CHANGING, *_SOCKETS, *_STARTING))
_CALL: Final = re.compile(r"\d+ +(?P<name>\w+)\((?P<arguments>.*)")
_PATH: Final = re.compile(
    r'(?:AT_FDCWD|\d+)(?:<(?P<folder>[^>]*)>)?, "(?P<at>(?:[^"\\]|\\.)*)"|"(?P<plain>(?:[^"\\]|\\.)*)"'
)
_RESULT: Final = re.compile(r" = \d+<(?P<path>[^>]*)>$")
_WRITING: Final = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND")
_ERROR: Final = re.compile(
    r"virt-ova: error: (?P<message>[^\n]*) \[(?P<code>E_[A-Z_]+)\]\n(?:  hint: (?P<hint>[^\n]+)\n)?"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What one run asked of the kernel: paths it read and wrote, sockets it opened, programs it started."""

    read: tuple[str, ...]
    written: tuple[str, ...]
    sockets: tuple[str, ...]
    programs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One run of the command line, as it ended."""

    status: int
    stdout: bytes
    stderr: bytes
    peak_bytes: int
    seconds: float
    children: int
    seen: Seen

    @property
    def errors(self) -> list[tuple[str, str, str]]:
        """Code, message and hint of each error that it told."""
        text = self.stderr.decode()
        return [(each["code"], each["message"], each["hint"] or "") for each in _ERROR.finditer(text)]


@dataclass(kw_only=True, slots=True)
class Tally:
    """What came of all rows."""

    packages: int = 0
    refused: int = 0
    outside: int = 0
    leftovers: int = 0
    secrets: int = 0
    sockets: int = 0
    tracebacks: int = 0
    peak_bytes: int = 0
    slowest_seconds: float = 0
    slowest: str = ""

    def count(self, name: str, *runs: Run, is_refused: bool) -> None:
        """Count a package, and what its runs cost."""
        self.packages += 1
        self.refused += is_refused
        self.peak_bytes = max(self.peak_bytes, *(run.peak_bytes for run in runs))
        seconds = max(run.seconds for run in runs)
        if is_refused and seconds > self.slowest_seconds:
            self.slowest_seconds, self.slowest = seconds, name

    def line(self) -> str:
        """For people."""
        return (
            f"{self.packages} hostile packages ({self.refused} refused, {self.packages - self.refused} made harmless): "
            f"{self.outside} files outside, {self.leftovers} leftovers, {self.secrets} secret bytes, "
            f"{self.sockets} sockets, {self.tracebacks} tracebacks; peak memory {self.peak_bytes / MIB:.0f} MiB, "
            f"slowest refusal {self.slowest_seconds:.2f} s ({self.slowest})"
        )


@dataclass(kw_only=True)
class Arena:
    """A folder with everything in it.

    Attributes:
        root: the folder.
        token: what stands in the secret, again and again.
        tally: what came of it.
    """

    root: Path
    token: bytes
    process: subprocess.Popen[str]
    log: IO[str]
    tally: Tally = field(default_factory=Tally)

    @property
    def machines(self) -> Path:
        """Where machines go."""
        return self.root / "machines"

    @property
    def outside(self) -> Path:
        """What is nobody's business."""
        return self.root / "outside"

    def stage(self) -> Stage:
        """An empty stage."""
        folder = self.root / "package"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return Stage(folder=folder, secret=self.outside / "secret", outside=self.outside)

    def run(self, *words: str | Path, **further: int) -> Run:
        """Run the command line; `further` is what else the zygote understands."""
        stdout, stderr = self.root / "stdout", self.root / "stderr"
        request = {"words": list(map(str, words)), "stdout": str(stdout), "stderr": str(stderr), **further}
        answer = self._ask(request)
        return Run(stdout=stdout.read_bytes(), stderr=stderr.read_bytes(), seen=self._seen(), **answer)

    def install(self, source: str | Path, *words: str | Path, **further: int) -> Run:
        """Install `source` as a folder's machine."""
        return self.run("install", source, "-c", f"dir:{self.machines}", *words, **further)

    def is_ready(self) -> bool:
        """Whether a good package can be installed; all machines are removed again."""
        self.clear()
        done = self.install(self.root / "good.ova")
        is_good = done.status == 0 and is_installed(self.machines)
        self.clear()
        return is_good

    def clear(self) -> None:
        """Remove all machines."""
        shutil.rmtree(self.machines, ignore_errors=True)

    def snapshot(self) -> dict[str, object]:
        """Everything in the arena that no run may change, and everything that it may leave."""
        places = (self.outside, self.machines, self.root / "package", self.root / "tmp", self.root / "home")
        return {str(path): _state(path) for place in places for path in [place, *sorted(place.rglob("*"))]}

    def holds_secret(self, run: Run) -> bool:
        """Whether the secret came into what was printed or made."""
        made = (path.read_bytes() for path in self.machines.rglob("*") if path.is_file())
        return any(self.token in data for data in (run.stdout, run.stderr, *made))

    def strays(self, run: Run) -> list[str]:
        """Paths that it wrote, and should not have; and the secret, if it read it.

        Folders that are made get their names at last; before, they have ones that nobody else can have.
        """
        names = ("machines", ".virt-ova-", "state", "stdout", "stderr")
        ours = (os.devnull, *(str(self.root / name) for name in names))
        written = [path for path in run.seen.written if not path.startswith(ours)]
        return written + [path for path in run.seen.read if path.startswith(str(self.outside))]

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def _seen(self) -> Seen:
        calls = [match for match in map(_CALL.match, self.log.read().splitlines()) if match]
        opened = [
            (_path_of(call["arguments"]), bool(_WRITING.search(call["arguments"]))) for call in _named(calls, _OPENING)
        ]
        changed = [_path_of(call["arguments"]) for call in _named(calls, _CHANGING)]
        return Seen(
            read=tuple(path for path, is_written in opened if not is_written),
            written=(*(path for path, is_written in opened if is_written), *changed),
            sockets=tuple(call[0] for call in _named(calls, _SOCKETS)),
            programs=tuple(call[0] for call in _named(calls, _STARTING)),
        )


@contextmanager
def arena(root: Path) -> Iterator[Arena]:
    """A running arena in the folder `root`."""
    for name in ("outside", "outside/etc", "tmp", "home"):
        (root / name).mkdir()
    token = secrets.token_hex(32).encode()
    (root / "outside/secret").write_bytes(token * (256 * KIB // len(token)))
    (root / "outside/etc/passwd").write_bytes(token + b":x:0:0::/root:/bin/sh\n")
    good, log = small_ova(root / "good.ova"), root / "calls"
    warm_up = ["install", str(good), "-c", f"dir:{root}/machines"]
    strace = ["strace", "-f", "-qq", "--seccomp-bpf", "-y", "-s", "4096", "-o", str(log), "-e", f"trace={_TRACED}"]
    with subprocess.Popen(
        [*strace, sys.executable, "-m", "tests.hostile.zygote", *warm_up],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(path=os.environ["PATH"], **_own_places(root)),
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdout
        for line in process.stdout:
            if line.startswith("{"):
                break
        shutil.rmtree(root / "machines")
        with log.open() as calls:
            made = Arena(root=root, token=token, process=process, log=calls)
            made._seen()
            yield made
        assert process.stdin
        process.stdin.close()


def _own_places(root: Path) -> dict[str, str]:
    """Variables of the environment that keep what a program remembers, and makes for a while, below `root`."""
    names = {"TMPDIR": "tmp", "HOME": "home", "XDG_CONFIG_HOME": "home", "XDG_STATE_HOME": "state"}
    return {variable: str(root / name) for variable, name in names.items()}


def _named(calls: list[re.Match[str]], names: tuple[str, ...]) -> list[re.Match[str]]:
    return [call for call in calls if call["name"] in names]


def _path_of(arguments: str) -> str:
    """The path that a call opened; where it opened none, the (last) one among its arguments, made absolute."""
    if opened := _RESULT.search(arguments):
        return opened["path"]
    *_, found = _PATH.finditer(arguments)
    if found["plain"] is not None:
        return found["plain"]
    return os.path.normpath(os.path.join(found["folder"] or "", found["at"]))  # noqa: PTH118 - text of strace's


def _state(path: Path) -> object:
    """What must not change of a file or folder."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() and status.st_size < MIB else ""
    changed = 0 if path.is_dir() else status.st_mtime_ns
    return (status.st_mode, status.st_ino, status.st_size, changed, content)

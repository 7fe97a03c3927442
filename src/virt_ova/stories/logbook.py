"""The file of a journal: what an install has made, in a place that outlives it.

One file for each install, in the user's state folder, of which every line is a JSON object. It is only ever added to,
and each line is on the disk before what it tells of is done; a last line without end was not written in time, and what
it would have told of was not done. The file is locked (flock(2)) as long as its process lives, so a file whose lock is
free was left behind. Who gets the lock of a file that has lost its name meanwhile lets go of it.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import stat
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from virt_ova.disk.sink import file_error, sync_directory
from virt_ova.errors import TargetError
from virt_ova.paths import PATH_ERRORS, path_problem
from virt_ova.plan.plan import DiskMode
from virt_ova.target.record import Record
from virt_ova.text import quoted

SUFFIX: Final = ".journal"
ROOT_FOLDER: Final = "/var/lib/virt-ova"

_VERSION: Final = 1
_MAX_BYTES: Final = 16 << 20
_OPEN: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, kw_only=True, slots=True)
class Heading:
    """What a journal begins with.

    Attributes:
        target: connection URI, without secrets.
        opened_by: what opens the target again, without secrets, where `target` leaves parameters out; empty elsewhere.
        pool: the storage pool that was asked for.
        package: name of the package, for people.
        machines: names of the machines.
        digest: of all that an install must have in common with another one to be continued by it.
        begun: UTC, ``2026-11-26T13:00:00Z``.
        version: of the file's format.
    """

    target: str
    opened_by: str = ""
    pool: str | None = None
    package: str = ""
    machines: tuple[str, ...] = ()
    digest: str = ""
    begun: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    version: int = _VERSION


@dataclass(frozen=True, kw_only=True, slots=True)
class Completed:
    """An image that is whole, durable, and verified if that was asked for.

    Attributes:
        transfer: id of its transfer.
        capacity_bytes: size of the guest's disk.
        mode: how it was placed.
        kind: of its record.
        name: of its record.
    """

    transfer: str
    capacity_bytes: int
    mode: DiskMode
    kind: str
    name: str


@dataclass(kw_only=True, slots=True)
class Contents:
    """What a journal holds.

    Attributes:
        heading: None when the run was killed before it was written, and so before anything was made.
        records: objects by kind and name, in the order in which they were told of first.
        late: the same for what was told of when all machines were defined: it is of their start, and none of them.
        completed: images by transfer id.
        is_defined: whether all machines were defined: nothing of the install is missing then.
        is_undone: whether it was being taken back.
    """

    heading: Heading | None = None
    records: dict[tuple[str, str], Record] = field(default_factory=dict)
    late: dict[tuple[str, str], Record] = field(default_factory=dict)
    completed: dict[str, Completed] = field(default_factory=dict)
    is_defined: bool = False
    is_undone: bool = False


class Logbook:
    """An open, locked file; safe for many threads."""

    def __init__(self, path: Path, descriptor: int) -> None:
        """Own `descriptor`, which is locked; use `begin` or `claim`."""
        self.path = path
        self._descriptor = descriptor
        self._lock = threading.Lock()

    @classmethod
    def begin(cls, heading: Heading) -> Self:
        """Make the file of a new install, private to the user.

        Raises:
            TargetError: it cannot be made (``E_JOURNAL``, ``E_IO``).
            SpaceError: no room (``E_SPACE``).
        """
        folder = state_folder()
        while True:
            path = folder / f"{secrets.token_hex(8)}{SUFFIX}"
            try:
                book = cls(path, os.open(path, _OPEN | os.O_CREAT | os.O_EXCL, 0o600))
            except OSError as exc:
                raise _unusable(folder, path_problem(exc)) from exc
            try:
                if book._lock_file(fcntl.LOCK_EX):
                    break
            except BaseException:
                book.remove()
                raise
            book.close()  # somebody took it for one that was left behind
        try:
            book._write({"heading": asdict(heading)})
            sync_directory(folder)
        except BaseException as exc:
            book.remove()
            if isinstance(exc, OSError):
                raise file_error(exc, folder, "made durable") from exc
            raise
        return book

    @classmethod
    def claim(cls, path: Path) -> Self | None:
        """Open and lock a file; None when its process lives, or it has gone.

        Raises:
            TargetError: it is not private to the user, so somebody else may have written it (``E_JOURNAL``).
        """
        try:
            descriptor = os.open(path, _OPEN | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise _unusable(path, path_problem(exc)) from exc
        book = cls(path, descriptor)
        try:
            _check_private(descriptor, path)
            if book._lock_file(fcntl.LOCK_EX | fcntl.LOCK_NB):
                return book
        except BlockingIOError:
            pass
        except BaseException:
            book.close()
            raise
        book.close()
        return None

    def note(self, record: Record) -> None:
        """See `virt_ova.target.record.Note`. Raises `TargetError`, `SpaceError`."""
        self._write({"object": {"kind": record.kind, "name": record.name, "key": dict(record.key)}})

    def note_completed(self, completed: Completed) -> None:
        """An image is complete. Raises `TargetError`, `SpaceError`."""
        self._write({"completed": asdict(completed)})

    def note_defined(self) -> None:
        """Every machine is defined. Raises `TargetError`, `SpaceError`."""
        self._write({"state": "defined"})

    def note_undone(self) -> None:
        """From now on all is taken back. Raises `TargetError`, `SpaceError`."""
        self._write({"state": "undone"})

    def read(self) -> Contents:
        """All that was written.

        Raises:
            TargetError: it makes no sense (``E_JOURNAL``).
        """
        try:
            data = os.pread(self._descriptor, _MAX_BYTES + 1, 0)
            if len(data) > _MAX_BYTES:
                raise _unusable(self.path, f"it is longer than {_MAX_BYTES} bytes")
            return _contents(data[: data.rfind(b"\n") + 1])
        except OSError as exc:
            raise _unusable(self.path, path_problem(exc)) from exc
        except (KeyError, ValueError) as exc:
            raise _unusable(self.path, "its content makes no sense") from exc

    def remove(self) -> None:
        """The install is over: remove the file. Raises `TargetError`."""
        try:
            self.path.unlink(missing_ok=True)
            sync_directory(self.path.parent)
        except OSError as exc:
            raise file_error(exc, self.path, "removed") from exc
        finally:
            self.close()

    def close(self) -> None:
        """Leave the file to whoever comes; may be called again."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _lock_file(self, operation: int) -> bool:
        """Lock the file; whether it still has its name.

        Raises:
            BlockingIOError: another process has locked it.
            TargetError: it cannot be locked (``E_JOURNAL``).
        """
        try:
            fcntl.flock(self._descriptor, operation)
        except BlockingIOError:
            raise
        except OSError as exc:
            raise _unusable(self.path, f"it cannot be locked: {path_problem(exc)}") from exc
        return os.fstat(self._descriptor).st_nlink > 0

    def _write(self, line: Mapping[str, Any]) -> None:
        data = json.dumps(line).encode() + b"\n"
        with self._lock:
            try:
                end = os.lseek(self._descriptor, 0, os.SEEK_END)
                try:
                    _write_all(self._descriptor, data)
                    os.fsync(self._descriptor)
                except OSError:
                    with suppress(OSError):
                        os.ftruncate(self._descriptor, end)
                    raise
            except OSError as exc:
                raise file_error(exc, self.path, "written") from exc


def logbooks() -> Iterator[Path]:
    """The files that there are; the latest first, for what it made may lie in a folder that an earlier one made.

    Raises:
        TargetError: the folder cannot be used (``E_JOURNAL``).
    """
    folder = state_folder(make=False)
    found = []
    try:
        for path in folder.glob(f"*{SUFFIX}"):
            with suppress(FileNotFoundError):  # its run is over
                found.append((path.lstat().st_mtime_ns, path))
    except OSError as exc:
        raise _unusable(folder, path_problem(exc)) from exc
    return (path for _, path in sorted(found, reverse=True))


def state_folder(*, make: bool = True) -> Path:
    """The folder of the journals, private to the user; made when `make` is set.

    Raises:
        TargetError: it cannot be used, or is not the user's own (``E_JOURNAL``).
    """
    base = os.environ.get("XDG_STATE_HOME", "")
    if base.startswith("/"):
        folder = Path(base) / "virt-ova"
    elif os.geteuid() == 0:
        folder = Path(ROOT_FOLDER)
    else:
        folder = Path("~/.local/state/virt-ova")
    try:
        folder = folder.expanduser()
        if not folder.exists():
            if not make:
                return folder
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(0o700, exist_ok=True)
        status = folder.stat()
    except (*PATH_ERRORS, RuntimeError) as exc:  # the last one for the home of nobody
        raise _unusable(folder, path_problem(exc)) from exc
    if status.st_uid != os.geteuid():
        raise _unusable(folder, "it belongs to another user")
    if status.st_mode & 0o022:
        raise _unusable(folder, "others may write to it")
    return folder


def _check_private(descriptor: int, path: Path) -> None:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise _unusable(path, "it is not a file of yours that is closed to others")


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _contents(data: bytes) -> Contents:
    """What the lines of a journal say. Raises `KeyError` or `ValueError` when they make no sense."""
    import msgspec  # noqa: PLC0415 - few runs read a journal

    contents = Contents()
    for line in data.splitlines():
        (kind, value), *_ = msgspec.json.decode(line, type=dict[str, Any]).items()
        match kind:
            case "heading":
                if value["version"] != _VERSION:
                    raise KeyError(value["version"])
                contents.heading = msgspec.convert(value, Heading)
            case "object":
                record = msgspec.convert(value, Record)
                told = contents.late if contents.is_defined else contents.records
                told[record.kind, record.name] = record
            case "completed":
                completed = msgspec.convert(value, Completed)
                contents.completed[completed.transfer] = completed
            case "state":
                contents.is_defined |= value == "defined"
                contents.is_undone |= value == "undone"
            case _:
                raise KeyError(kind)
    return contents


def _unusable(path: Path, problem: str) -> TargetError:
    return TargetError(
        f"the journal {quoted(str(path))} cannot be used: {problem}",
        code="E_JOURNAL",
        hint="Name a folder of your own in XDG_STATE_HOME, or correct that one.",
    )

"""A new image as a local file.

Written in place, under a name that cannot replace another file: ``O_EXCL`` where the file is ours to make,
``O_NOFOLLOW`` always, mode 0600 from the first byte. `FileSink.finish` returns when the bytes and the name are on the
disk, not when they are in memory.
"""

from __future__ import annotations

import errno
import os
import shlex
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from virt_ova.disk.base import Buffer
from virt_ova.disk.direct import DirectFile
from virt_ova.errors import SpaceError, TargetError
from virt_ova.kernel import rename_new
from virt_ova.memory import MORE_HINT
from virt_ova.paths import PATH_ERRORS, path_problem
from virt_ova.text import printable, quoted
from virt_ova.undo import Made, take_back
from virt_ova.units import format_bytes

REMOVED: Final = "removed"
"""What could not be done to a file that is left behind."""

_BATCH: Final = 1024
"""Most buffers of one ``pwritev`` (IOV_MAX)."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_OPEN: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC


class FileSink:
    """Takes the bytes of an image at any offset, from any thread. Gaps become holes."""

    in_order = False

    def __init__(self, path: Path, descriptor: int) -> None:
        """Own `descriptor`, open for writing on the regular file `path`; use `create` or `adopt`."""
        self.path = path
        self._descriptor = descriptor
        self._direct = DirectFile.reopen(descriptor)
        status = os.fstat(descriptor)
        self._identity = (status.st_dev, status.st_ino)

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make the empty file `path`.

        Raises:
            TargetError: something has that name (``E_EXISTS``), or the file cannot be made (``E_IO``).
            SpaceError: no room (``E_SPACE``).
        """
        try:
            return cls(path, open_new(path))
        except PATH_ERRORS as exc:
            raise file_error(exc, path, "made") from exc

    @classmethod
    def adopt(cls, path: Path) -> Self:
        """Open the existing file `path`, which another program made for us.

        Raises:
            TargetError: it is no regular file or cannot be opened (``E_IO``).
        """
        try:
            descriptor = os.open(path, _OPEN | os.O_NONBLOCK)
        except OSError as exc:
            raise file_error(exc, path, "opened") from exc
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise TargetError(f"{quoted(str(path))} is not a regular file", code="E_IO")
        return cls(path, descriptor)

    def rename(self, path: Path) -> bool:
        """Give it the name `path`, without replacing anything.

        Returns:
            False, with nothing done, where that cannot be.

        Raises:
            OSError: something has that name, or it failed otherwise.
            ValueError: no file can have that name.
        """
        if not rename_new(self.path, path):
            return False
        self.path = path
        return True

    def set_mode(self, mode: int) -> None:
        """Let others read or run it, too. Raises `TargetError`."""
        try:
            os.fchmod(self._descriptor, mode)
        except OSError as exc:
            raise file_error(exc, self.path, "given its mode") from exc

    def fileno(self) -> int:
        """The open descriptor, for sharing extents with another file; valid until `finish` or `close`."""
        return self._descriptor

    def empty(self) -> None:
        """Cut the file to nothing. Raises `TargetError` (``E_IO``)."""
        try:
            os.ftruncate(self._descriptor, 0)
        except OSError as exc:
            raise file_error(exc, self.path, "emptied") from exc

    def write_at(self, offset: int, buffers: Sequence[Buffer]) -> None:
        """Write `buffers` one after the other from `offset`.

        Raises:
            SpaceError: no room (``E_SPACE``).
            TargetError: the write failed (``E_IO``).
        """
        try:
            if self._direct and self._direct.write(offset, buffers):
                return
            for first in range(0, len(buffers), _BATCH):
                offset = self._write_batch(offset, buffers[first : first + _BATCH])
        except OSError as exc:
            raise file_error(exc, self.path, "written") from exc

    def finish(self, size_bytes: int) -> None:
        """Set the length, make bytes and name durable, and close.

        Raises:
            SpaceError: no room (``E_SPACE``).
            TargetError: the bytes cannot be made durable (``E_IO``).
        """
        try:
            os.ftruncate(self._descriptor, size_bytes)
            os.fsync(self._descriptor)
            sync_directory(self.path.parent)
        except OSError as exc:
            raise file_error(exc, self.path, "made durable") from exc
        finally:
            self.close()

    def publish(self, path: Path) -> None:
        """Give the finished file the name `path` in its folder, durable, if nothing has it.

        Raises:
            TargetError: something has that name (``E_EXISTS``), or the file cannot be renamed (``E_IO``).
        """
        try:
            if not self.rename(path):
                os.link(self.path, path)
                former, self.path = self.path, path
                former.unlink()
            sync_directory(path.parent)
        except PATH_ERRORS as exc:
            raise file_error(exc, path, "given its name") from exc

    def close(self) -> None:
        """Release the descriptors; may be called again."""
        if self._direct:
            self._direct.close()
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    @property
    def made(self) -> Made:
        """The file, for taking it back."""
        return Made(what=f"file {printable(str(self.path))}", discard=self.discard)

    def is_present(self) -> bool:
        """Whether `path` still names the file that was opened."""
        try:
            status = os.lstat(self.path)
        except FileNotFoundError:
            return False
        return (status.st_dev, status.st_ino) == self._identity

    def check_present(self) -> None:
        """Refuse a file that somebody took away meanwhile.

        Raises:
            TargetError: `path` names no file, or another one (``E_CHANGED``), or cannot be looked at (``E_IO``).
        """
        with examined(self.path):
            is_present = self.is_present()
        if not is_present:
            raise TargetError(
                f"{quoted(str(self.path))} was removed or replaced by somebody else while it was in use",
                code="E_CHANGED",
                hint="Let nobody else work there, and install again.",
            )

    def discard(self) -> None:
        """Close and remove the file, unless the name has gone or now belongs to another file.

        Raises:
            TargetError: it cannot be removed (``E_IO``).
        """
        self.close()
        try:
            if self.is_present():
                self.path.unlink()
        except OSError as exc:
            raise file_error(exc, self.path, REMOVED) from exc

    def _write_batch(self, offset: int, buffers: Sequence[Buffer]) -> int:
        """Write at most `_BATCH` buffers; returns the offset behind them."""
        pending = [memoryview(buffer).cast("B") for buffer in buffers]
        while pending:
            written = os.pwritev(self._descriptor, pending, offset)
            offset += written
            while pending and written >= len(pending[0]):
                written -= len(pending.pop(0))
            if pending:
                pending[0] = pending[0][written:]
        return offset


def open_new(path: Path) -> int:
    """A descriptor of the file `path`, which is made. Raises any of `PATH_ERRORS`."""
    return os.open(path, _OPEN | os.O_CREAT | os.O_EXCL, 0o600)


def write_new(
    path: Path, content: bytes, *, mode: int = 0o600, create: Callable[[Path], FileSink] = FileSink.create
) -> FileSink:
    """Make the small file `path`, by `create`, with `content`, durable; the result can `discard` it.

    Raises:
        TargetError: something has that name (``E_EXISTS``), or the write failed (``E_IO``); nothing is left then.
        SpaceError: no room (``E_SPACE``).
        RollbackError: it failed, and something is left (``E_ROLLBACK``).
    """
    sink = create(path)
    try:
        sink.set_mode(mode)
        sink.write_at(0, [content])
        sink.finish(len(content))
    except BaseException as exc:
        take_back([sink.made], exc)
        raise
    return sink


def check_room(path: Path, need_bytes: int) -> None:
    """Refuse what will not fit where `path` is, or will be.

    Raises:
        SpaceError: less than `need_bytes` is free (``E_SPACE``).
        TargetError: that cannot be told (``E_IO``).
    """
    try:
        status = os.statvfs(next(folder for folder in (path, *path.absolute().parents) if folder.exists()))
    except PATH_ERRORS as exc:
        raise file_error(exc, path, "examined") from exc
    free = status.f_bavail * status.f_frsize
    if need_bytes > free:
        raise SpaceError(
            f"{quoted(str(path))} has {format_bytes(free)} free, the images need {format_bytes(need_bytes)}",
            code="E_SPACE",
            hint="Free some space or choose another folder.",
        )


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def examined(path: Path) -> Iterator[None]:
    """Turn an `OSError` about `path` into one of ours. Raises `TargetError` (``E_IO``)."""
    try:
        yield
    except OSError as exc:
        raise file_error(exc, path, "examined") from exc


def file_error(exc: BaseException, path: Path, done: str) -> TargetError:
    """The error for `path` that could not be `done` (``written``, ``removed``), because of one of `PATH_ERRORS`."""
    name, reason = quoted(str(path)), path_problem(exc)
    number = exc.errno if isinstance(exc, OSError) else None
    if number in _FULL:
        return SpaceError(
            f"{name} could not be {done}: {reason}",
            code="E_SPACE",
            hint="Free some space or choose another place, then try again.",
        )
    if number == errno.EEXIST:
        return TargetError(
            f"{name} exists already", code="E_EXISTS", hint="Choose another name, or remove what is there."
        )
    if number == errno.ENOMEM:
        return TargetError(f"{name} could not be {done}: {reason}", code="E_MEMORY", hint=MORE_HINT)
    again = "Check the permissions and the health of the disk, then try again."
    hint = f"rm {shlex.quote(printable(str(path)))}" if done == REMOVED else again
    return TargetError(f"{name} could not be {done}: {reason}", code="E_IO", hint=hint)

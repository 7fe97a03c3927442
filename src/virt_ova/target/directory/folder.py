"""The folder of one machine, and what we put in it.

A folder is made under a name that nobody else can have, and gets its own by a rename that replaces nothing; so at every
moment the journal tells it from one that somebody else made. What is in it is known by that, too.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from virt_ova.disk.sink import FileSink, examined, file_error, sync_directory
from virt_ova.errors import TargetError
from virt_ova.kernel import file_identity, rename_new
from virt_ova.plan.inputs import Backing
from virt_ova.plan.plan import ImageFormat
from virt_ova.target.directory.records import file_record, folder_record
from virt_ova.target.record import Note, Record, unnoted
from virt_ova.text import quoted
from virt_ova.undo import take_back

IMAGE_SEPARATOR = "/"
"""Between machine and image in the name of a volume."""


class MachineFolder:
    """A folder that was made by us, and goes when the last thing in it goes."""

    def __init__(self, path: Path, made: tuple[Path, ...], note: Note) -> None:
        """Use `make`."""
        self.path = path
        self._made = made
        self._note = note

    @classmethod
    def make(cls, path: Path, note: Note = unnoted) -> MachineFolder:
        """Make the folder `path` and those above it that are missing, private to the user; `note` is told of each.

        Raises:
            TargetError: it exists (``E_EXISTS``) or cannot be made (``E_IO``).
            SpaceError: no room (``E_SPACE``).
        """
        missing = [folder for folder in (path.parent, *path.parent.parents) if not os.path.lexists(folder)]
        made: list[Path] = []
        for folder in [*reversed(missing), path]:
            try:
                _make(folder, note)
            except FileExistsError as exc:
                if folder == path:
                    cls(path, tuple(made), note).release()
                    raise folder_exists(path) from exc
                continue
            except BaseException as exc:
                cls(path, tuple(made), note).release()
                if isinstance(exc, OSError):
                    raise file_error(exc, folder, "made") from exc
                raise
            made.append(folder)
        return cls(path, tuple(made), note)

    @property
    def is_ours(self) -> bool:
        """Whether the folder was made by us and not removed since."""
        return self.path in self._made

    def tell(self, record: Record) -> None:
        """Let the journal know of something else in the folder. Raises what the journal raises."""
        self._note(record)

    def create(self, path: Path) -> FileSink:
        """Make the empty file `path`, which is in this folder; the journal is told. Raises as `FileSink.create`."""
        with examined(self.path):
            self._note(file_record(path))
        sink = FileSink.create(path)
        try:
            with examined(path):
                self._note(file_record(path, file_identity(path)))
        except BaseException as exc:
            take_back([sink.made], exc)
            raise
        return sink

    def release(self) -> None:
        """Remove the folders we made as far as they are empty; durable."""
        while self._made:
            folder = self._made[-1]
            try:
                folder.rmdir()
            except OSError:
                return
            self._made = self._made[:-1]
            with suppress(OSError):  # on a disk that dies it is gone all the same; a power cut may bring it back
                sync_directory(folder.parent)

    def settle(self) -> None:
        """Make the folder's own name durable. Raises `TargetError`."""
        for folder in self._made:
            try:
                sync_directory(folder.parent)
            except OSError as exc:
                raise file_error(exc, folder, "made durable") from exc


class FolderVolume:
    """An image in the machine's folder."""

    pool = ""

    def __init__(
        self, folder: MachineFolder, sink: FileSink, image_format: ImageFormat, backing: Backing | None = None
    ) -> None:
        """Own `sink`, a file in `folder`; the image lies on `backing`."""
        self.image_format, self.backing = image_format, backing
        self._folder, self._sink, self._path = folder, sink, sink.path

    @property
    def name(self) -> str:
        """Machine and image."""
        return f"{self._folder.path.name}{IMAGE_SEPARATOR}{self._path.name}"

    @property
    def path(self) -> str:
        """Absolute path."""
        return str(self._path)

    def path_from(self, machine: str) -> str:
        """Path relative to the folder of `machine`, which may be another one beside this volume's."""
        return self._path.name if machine == self._folder.path.name else f"../{self.name}"

    @property
    def sink(self) -> FileSink:
        """Takes the image's bytes."""
        return self._sink

    def discard(self) -> None:
        """Remove the image, and the folder when nothing else is in it. Raises `TargetError`."""
        self._sink.discard()
        self._folder.release()


def _make(folder: Path, note: Note) -> None:
    """Make a folder. Raises `OSError`, or what `note` raises; nothing is left then."""
    own_name = folder.with_name(f".virt-ova-{secrets.token_hex(8)}")
    note(folder_record(folder, own_name))
    own_name.mkdir(0o700)
    try:
        note(folder_record(folder, own_name, file_identity(own_name)))
        if rename_new(own_name, folder):
            return
    except BaseException:
        own_name.rmdir()
        raise
    own_name.rmdir()
    _make_where_nothing_is_renamed(folder, note)


def _make_where_nothing_is_renamed(folder: Path, note: Note) -> None:
    """As `_make`, on a file system that would replace what has the new name."""
    note(folder_record(folder))
    folder.mkdir(0o700)
    try:
        note(folder_record(folder, identity=file_identity(folder)))
    except BaseException:
        folder.rmdir()
        raise


def folder_exists(path: Path) -> TargetError:
    """The error for a machine's folder that is there already."""
    return TargetError(
        f"{quoted(str(path))} exists already",
        code="E_EXISTS",
        hint="Choose another name for the machine with --name, or remove that folder.",
    )

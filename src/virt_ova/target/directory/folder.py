"""The folder of one machine, and what we put in it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from virt_ova.disk.sink import FileSink, file_error, sync_directory
from virt_ova.errors import TargetError
from virt_ova.plan.inputs import Backing
from virt_ova.plan.plan import ImageFormat
from virt_ova.text import quoted

IMAGE_SEPARATOR = "/"
"""Between machine and image in the name of a volume."""


class MachineFolder:
    """A folder that was made by us, and goes when the last thing in it goes."""

    def __init__(self, path: Path, made: tuple[Path, ...]) -> None:
        """Use `make`."""
        self.path = path
        self._made = made

    @classmethod
    def make(cls, path: Path) -> MachineFolder:
        """Make the folder `path` and those above it that are missing, private to the user.

        Raises:
            TargetError: it exists (``E_EXISTS``) or cannot be made (``E_IO``).
            SpaceError: no room (``E_SPACE``).
        """
        missing = [folder for folder in (path.parent, *path.parent.parents) if not os.path.lexists(folder)]
        made: list[Path] = []
        for folder in [*reversed(missing), path]:
            try:
                folder.mkdir(0o700)
            except FileExistsError as exc:
                if folder == path:
                    cls(path, tuple(made)).release()
                    raise folder_exists(path) from exc
                continue
            except OSError as exc:
                cls(path, tuple(made)).release()
                raise file_error(exc, folder, "made") from exc
            made.append(folder)
        return cls(path, tuple(made))

    @property
    def is_ours(self) -> bool:
        """Whether the folder was made by us and not removed since."""
        return self.path in self._made

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
        self, folder: MachineFolder, image_name: str, image_format: ImageFormat, backing: Backing | None = None
    ) -> None:
        """Make the empty image, which will lie on `backing`. Raises as `FileSink.create`."""
        self.image_format, self.backing = image_format, backing
        self._folder = folder
        self._path = folder.path / image_name
        self._sink = FileSink.create(self._path)

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


def folder_exists(path: Path) -> TargetError:
    """The error for a machine's folder that is there already."""
    return TargetError(
        f"{quoted(str(path))} exists already",
        code="E_EXISTS",
        hint="Choose another name for the machine with --name, or remove that folder.",
    )

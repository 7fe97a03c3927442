"""A new file on this host that is in no target: what ``convert`` and ``export`` write.

It is made under a random name of 64 bits, and gets its own, without replacing anything, when the journal has what tells
it from all others, or when it is whole. So at every moment the journal tells it from one that somebody else made.
"""

from __future__ import annotations

import errno
import os
import secrets
import shlex
from pathlib import Path
from typing import Final, Self
from urllib.parse import unquote_to_bytes

from virt_ova.disk.sink import REMOVED, FileSink, examined, file_error, open_new, sync_directory
from virt_ova.errors import TargetError
from virt_ova.kernel import file_identity, has_identity
from virt_ova.paths import PATH_ERRORS
from virt_ova.target.record import Note, Record, Removal, unnoted
from virt_ova.text import printable, quoted
from virt_ova.undo import take_back

SCHEME: Final = "file://"


class NewFile:
    """A file that does not exist yet, or that a process which was killed has made."""

    def __init__(self, path: Path) -> None:
        """The file `path`."""
        self.path = path
        self._note: Note = unnoted

    @classmethod
    def of(cls, uri: str) -> Self:
        """The file that `uri` tells of."""
        return cls(Path(os.fsdecode(unquote_to_bytes(uri.removeprefix(SCHEME)))))

    @property
    def uri(self) -> str:
        """``file://`` and the absolute path, of which every byte survives in a journal."""
        return self.path.absolute().as_uri()

    def tell(self, note: Note) -> None:
        """From now on call `note` for the file; when `note` raises, it is not made."""
        self._note = note

    def create(self) -> FileSink:
        """Make it, empty.

        Raises:
            TargetError: something has that name (``E_EXISTS``), or the file cannot be made (``E_IO``).
            SpaceError: no room (``E_SPACE``).
        """
        try:
            if os.path.lexists(self.path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
            return self._made_elsewhere() or self._made_in_place()
        except PATH_ERRORS as exc:
            raise file_error(exc, self.path, "made") from exc

    def create_hidden(self) -> FileSink:
        """Make it, empty, under another name until `FileSink.publish` gives it its own; raises as `create`."""
        try:
            return self._made_hidden()
        except PATH_ERRORS as exc:
            raise file_error(exc, self.path, "made") from exc

    def remove(self, record: Record) -> Removal:
        """Remove the file of `record` if it is still that file.

        Raises:
            TargetError: it stays, or it cannot be told whether it is the one (``E_UNCERTAIN``).
        """
        path, own_name, identity = self.path, record.key["own_name"], record.key["file"]
        try:
            if own_name and os.path.lexists(path.parent / own_name):
                path = path.parent / own_name
            elif not os.path.lexists(path):
                return Removal.ABSENT
            elif not (own_name or identity) and path.lstat().st_size == 0:
                raise self._uncertain()
            elif not (identity and has_identity(path, identity)):
                return Removal.FOREIGN
            path.unlink()
            sync_directory(path.parent)
        except OSError as exc:
            raise file_error(exc, path, REMOVED) from exc
        return Removal.REMOVED

    def _made_elsewhere(self) -> FileSink | None:
        """The file, made under another name first; None where no file is renamed without replacing another."""
        sink = self._made_hidden()
        try:
            if sink.rename(self.path):
                return sink
        except BaseException as exc:
            take_back([sink.made], exc)
            raise
        sink.discard()
        return None

    def _made_hidden(self) -> FileSink:
        own_name = f".virt-ova-{secrets.token_hex(8)}"
        self._tell(own_name)
        own = self.path.parent / own_name
        sink = FileSink(own, open_new(own))
        try:
            self._tell(own_name, file_identity(own))
        except BaseException as exc:
            take_back([sink.made], exc)
            raise
        return sink

    def _made_in_place(self) -> FileSink:
        self._tell()
        sink = FileSink.create(self.path)
        try:
            with examined(self.path):
                self._tell(identity=file_identity(self.path))
        except BaseException as exc:
            take_back([sink.made], exc)
            raise
        return sink

    def _tell(self, own_name: str = "", identity: str = "") -> None:
        key = {"own_name": own_name, "file": identity}
        self._note(Record(kind="file", name=printable(str(self.path.absolute())), key=key))

    def _uncertain(self) -> TargetError:
        """The error for an empty file that was perhaps made in place, a moment before the process was killed."""
        name = str(self.path)
        return TargetError(
            f"{quoted(name)} is an empty file that may have been made by a run that was killed",
            code="E_UNCERTAIN",
            hint=f"If nobody needs it: rm {shlex.quote(printable(name))}",
        )

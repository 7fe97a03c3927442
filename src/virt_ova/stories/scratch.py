"""The folder that libguestfs works in, which the journal knows as it knows all else that is made.

Its random name of 64 bits is told before it is made, and nobody else can have it. What is in it is of no use to anybody
when the run is over, however that ends.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from virt_ova.disk.sink import REMOVED, file_error
from virt_ova.inside.appliance import remove_sockets
from virt_ova.interrupt import held_back
from virt_ova.target.record import Note, Record, Removal

SCRATCH: Final = "scratch folder"
"""Kind of its record."""

_NAME: Final = re.compile(r"virt-ova-[0-9a-f]{16}")


@contextmanager
def scratch_folder(note: Note) -> Iterator[Path]:
    """A new folder, private to the user, as long as the block lasts; `note` is told of it.

    Raises:
        TargetError: it cannot be made (``E_IO``).
        SpaceError: no room (``E_SPACE``).
    """
    path = Path(tempfile.gettempdir(), f"virt-ova-{secrets.token_hex(8)}")
    begun = time.time()
    note(Record(kind=SCRATCH, name=str(path), key={"path": str(path), "begun": str(begun)}))
    try:
        try:
            path.mkdir(0o700)
        except OSError as exc:
            raise file_error(exc, path, "made") from exc
        yield path
    finally:
        with held_back():
            shutil.rmtree(path, ignore_errors=True)
            remove_sockets(begun)


def remove_scratch(record: Record) -> Removal:
    """Remove the folder of a run that was killed, and what else libguestfs has left of it. Raises `TargetError`.

    It goes with all that is in it; so nothing does that is not named as one.
    """
    path = Path(record.key["path"])
    if not _NAME.fullmatch(path.name):
        return Removal.FOREIGN
    remove_sockets(float(record.key["begun"]))
    try:
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            return Removal.FOREIGN
        shutil.rmtree(path)
    except FileNotFoundError:
        return Removal.ABSENT
    except OSError as exc:
        raise file_error(exc, path, REMOVED) from exc
    return Removal.REMOVED

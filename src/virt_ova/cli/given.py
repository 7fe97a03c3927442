"""Files that an option names, read whole."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from virt_ova.cli.parser import UsageError
from virt_ova.paths import PATH_ERRORS, path_problem
from virt_ova.text import quoted


@dataclass(frozen=True, kw_only=True, slots=True)
class GivenFile:
    """A file's content, and its mode bits."""

    data: bytes
    mode: int


def read_given(path: str, option: str, *, most_bytes: int) -> GivenFile:
    """The file at `path`, which may be a pipe (``<(command)``), that `option` names.

    Raises:
        UsageError: it cannot be read, or is longer than `most_bytes`.
    """
    try:
        with Path(path).open("rb") as file:
            given = GivenFile(data=file.read(most_bytes + 1), mode=os.fstat(file.fileno()).st_mode)
    except PATH_ERRORS as exc:
        raise UsageError(f"{option} {quoted(path)}: {path_problem(exc)}") from exc
    if len(given.data) > most_bytes:
        raise UsageError(f"{option} {quoted(path)} is longer than {most_bytes} bytes")
    return given

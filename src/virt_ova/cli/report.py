"""``--report FILE``: the JSON of a run in a file, whether it went well or not.

The file is new, or a report of an earlier run: whatever else has that name, be it a file of the package, is not ours to
replace.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Final, Self

from virt_ova.cli.console import say
from virt_ova.cli.parser import UsageError
from virt_ova.paths import PATH_ERRORS, path_problem
from virt_ova.text import quoted

_OPEN: Final = os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""A pipe or device under that name must not hold us up; it is refused once it is open."""


class Report:
    """The file; opened before anything is done, so that a place that cannot be written is told first."""

    def __init__(self, path: str, *, apart_from: Iterable[str]) -> None:
        """Open `path`, which is none of the files in `apart_from`; its old content stays until `write`.

        Raises:
            UsageError: it cannot be opened, is one of `apart_from`, or is no report that may be replaced.
        """
        try:
            self._file = os.fdopen(os.open(path, _OPEN, 0o666), "w", encoding="utf-8")
        except PATH_ERRORS as exc:
            raise UsageError(f"--report {quoted(path)}: {path_problem(exc)}") from exc
        if problem := _problem(self._file.fileno(), apart_from):
            self._file.close()
            raise UsageError(f"--report {quoted(path)} {problem}")

    def write(self, document: Mapping[str, object]) -> bool:
        """Write `document`, and whether that went well; a failure is told, because what was done before is done."""
        try:
            self._file.truncate(0)
            self._file.write(json.dumps(document, indent=2) + "\n")
            self._file.flush()
        except OSError as exc:
            say(f"virt-ova: error: the report cannot be written: {exc.strerror} [E_OUTPUT]")
            return False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.close()
        except OSError:
            return  # told by `write` already


def _problem(descriptor: int, apart_from: Iterable[str]) -> str:
    """Why an open file cannot take the report, or nothing."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return "is no regular file"
    if os.path.samestat(status, os.fstat(sys.stdout.fileno())):
        return "is standard output, where --json prints the same"
    if any(os.path.exists(other) and os.path.samestat(status, os.stat(other)) for other in apart_from):  # noqa: PTH110, PTH116 - text
        return "would overwrite what this run reads"
    if os.pread(descriptor, 1, 0) not in {b"", b"{"}:
        return "holds something else than a report, expected a new file, an empty one, or an earlier report"
    return ""

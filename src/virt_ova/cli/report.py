"""``--report FILE``: the JSON of a run in a file, whether it went well or not."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from virt_ova.cli.console import say
from virt_ova.cli.parser import UsageError
from virt_ova.text import quoted


class Report:
    """The file; opened before anything is done, so that a place that cannot be written is told first."""

    def __init__(self, path: str, *, apart_from: Iterable[str]) -> None:
        """Open `path`, which is none of the files in `apart_from`; its old content stays until `write`.

        Raises:
            UsageError: it cannot be opened, or is one of `apart_from`.
        """
        try:
            if any(os.path.exists(path) and os.path.samefile(path, other) for other in apart_from):  # noqa: PTH110, PTH121 - text
                raise UsageError(f"--report {quoted(path)} would overwrite what this run reads")
            self._file = Path(path).open("a", encoding="utf-8")  # noqa: SIM115 - closed by __exit__
        except OSError as exc:
            raise UsageError(f"--report {quoted(path)}: {exc.strerror}") from exc

    def write(self, document: Mapping[str, object]) -> bool:
        """Write `document`, and whether that went well; a failure is told, because what was done before is done."""
        try:
            if stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
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

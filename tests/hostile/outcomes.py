"""The recorded messages of all refusals."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_TABLE: Final = Path(__file__).with_name("outcomes.tsv")
_HEADER: Final = "package\tcode\tmessage\n"


class Outcomes:
    """What was recorded, and what is found now."""

    def __init__(self) -> None:
        self._is_new = bool(os.environ.get("VIRT_OVA_REGENERATE"))
        lines = _TABLE.read_text(encoding="utf-8").splitlines()[1:] if _TABLE.exists() else []
        self._recorded = {line.partition("\t")[0]: line for line in lines}
        self._found: dict[str, str] = {}

    @property
    def names(self) -> set[str]:
        """Of the packages that are recorded."""
        return set(self._found if self._is_new else self._recorded)

    def check(self, name: str, code: str, message: str) -> None:
        """Compare with what was recorded."""
        self._found[name] = f"{name}\t{code}\t{message}"
        if not self._is_new:
            assert self._found[name] == self._recorded.get(name)

    def close(self) -> None:
        """Write the table, if that was asked for."""
        if self._is_new:
            lines = (f"{line}\n" for line in self._found.values())
            _TABLE.write_text(_HEADER + "".join(lines), encoding="utf-8")

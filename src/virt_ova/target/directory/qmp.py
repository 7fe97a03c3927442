"""QEMU's monitor for programs (QMP, ``docs/interop/qmp-spec.txt`` of QEMU): as much as a screenshot needs."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from virt_ova.target.boot.picture import MAX_BYTES
from virt_ova.target.boot.vga import MEMORY_ADDRESS, MEMORY_BYTES
from virt_ova.target.directory.sockets import QMP_SOCKET, connected

CATCH_FILE: Final = "qmp.out"
"""What QEMU writes for us, and we remove when it is read."""

_TIMEOUT_SECONDS: Final = 10
_LONGEST_LINE: Final = 1 << 20


class Qmp:
    """A connection to the QEMU that runs in a folder; one that fails tells nothing from then on."""

    def __init__(self, folder: Path) -> None:
        """Connect."""
        self._catch = folder / CATCH_FILE
        self._socket: socket.socket | None = None
        with suppress(OSError):
            self._socket = connected(folder, QMP_SOCKET)
            self._socket.settimeout(_TIMEOUT_SECONDS)
            self._lines = self._socket.makefile("rb")
        self._execute("qmp_capabilities")

    def close(self) -> None:
        """Leave QEMU alone."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def screenshot(self) -> bytes:
        """The first screen as PNG, by a QEMU before 7.1 as PPM; empty when there is none."""
        in_png = {"filename": str(self._catch), "format": "png"}
        in_ppm = {"filename": str(self._catch)}
        return self._caught("screendump", in_png) or self._caught("screendump", in_ppm)

    def text_memory(self) -> bytes:
        """What `virt_ova.target.boot.vga` reads."""
        place = {"val": MEMORY_ADDRESS, "size": MEMORY_BYTES}
        return self._caught("pmemsave", {**place, "filename": str(self._catch)})

    def _caught(self, command: str, arguments: Mapping[str, object]) -> bytes:
        """What `command` wrote into the file; empty when it failed."""
        try:
            if not self._execute(command, arguments):
                return b""
            with self._catch.open("rb") as file:
                return file.read(MAX_BYTES)
        except OSError:
            return b""
        finally:
            with suppress(OSError):
                self._catch.unlink(missing_ok=True)

    def _execute(self, command: str, arguments: Mapping[str, object] | None = None) -> bool:
        """Whether QEMU did it; the connection is given up when it does not answer."""
        if self._socket is None:
            return False
        try:
            self._socket.sendall(json.dumps({"execute": command, "arguments": arguments or {}}).encode() + b"\n")
            return "return" in self._answer()
        except (OSError, ValueError):
            self.close()
            return False

    def _answer(self) -> dict[str, object]:
        """The next answer; QEMU's greeting and its events are passed over. Raises ValueError at the end."""
        while line := self._lines.readline(_LONGEST_LINE):
            message = json.loads(line)
            if "return" in message or "error" in message:
                return dict(message)
        raise ValueError

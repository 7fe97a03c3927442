"""libguestfs's appliance, by its shell ``guestfish``: a small machine that has a guest's disks, and reads them for us.

Nothing of a guest is mounted or run on this host, and nothing is written to its disks. What the appliance says of them
comes from a stranger; so each answer has a bound, and so has the time.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from virt_ova.errors import ToolError
from virt_ova.process import Running, find, started
from virt_ova.text import printable

PACKAGE: Final = "guestfish linux-image-amd64"
"""Debian's packages: the shell, with all of libguestfs behind it, and a kernel for the appliance."""

_PROGRAM: Final = "guestfish"
_TIMEOUT_SECONDS: Final = 300
_END_SECONDS: Final = 10
_LONGEST_ANSWER: Final = 1 << 20
_FETCHED: Final = "fetched"
_SOCKETS: Final = Path("/tmp")  # noqa: S108 - libguestfs's own, whatever it is told
_SOCKETS_IN_USE: Final = Path("/proc/net/unix")
_PREFIX: Final = re.compile(r"(?:\*stdin\*:\d+: )?libguestfs: error: ")
_ADVICE: Final = re.compile(r"\.?; (?:This usually means|To see full error messages).*?libguestfs mailing list\.?")
_PLAIN: Final = re.compile(r"[A-Za-z0-9 ._+:@,=/-]+")
"""What a path in a guest may have so that we ask for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GuestImage:
    """One of a guest's disks: a file on this host, and its format (``qcow2``, ``raw``), which is never guessed."""

    path: str
    image_format: str


def check_guestfish() -> None:
    """Refuse when it is not installed. Raises `ToolError` (``E_TOOL_MISSING``)."""
    find(_PROGRAM, package=PACKAGE)


def guestfs_environment(folder: Path, *, can_kvm: bool) -> Mapping[str, str]:
    """Variables for a program that uses libguestfs, and has `folder` to work in.

    How the appliance is started is for whoever runs us to say. It is built once, and kept where libguestfs keeps it.
    """
    settings = {"LIBGUESTFS_BACKEND": "direct", "LIBGUESTFS_CACHEDIR": os.environ.get("TMPDIR") or "/var/tmp"}  # noqa: S108 - libguestfs's own
    if not can_kvm:
        settings["LIBGUESTFS_BACKEND_SETTINGS"] = "force_tcg"
    return {
        **{name: value for name, value in settings.items() if name not in os.environ},
        **dict.fromkeys(("HOME", "TMPDIR", "LIBGUESTFS_TMPDIR", "XDG_RUNTIME_DIR"), str(folder)),
    }


def remove_sockets(begun: float) -> None:
    """Remove root's sockets that a libguestfs has left which was killed: for root, they go nowhere but to `_SOCKETS`.

    They are those that nobody has, and that came since `begun`, in seconds since 1970.
    """
    in_use = _SOCKETS_IN_USE.read_text(errors="replace")
    for folder in _SOCKETS.glob("libguestfs*"):
        with suppress(OSError):
            status, socket = folder.lstat(), folder / "guestfsd.sock"
            is_ours = status.st_uid == os.geteuid() and status.st_ctime >= int(begun)
            if is_ours and socket.is_socket() and str(socket) not in in_use:
                shutil.rmtree(folder)


def without_advice(complaint: str) -> str:
    """What libguestfs complains about, without where it stands and how to debug it."""
    return _ADVICE.sub("", _PREFIX.sub("", complaint))


@contextmanager
def open_appliance(images: Sequence[GuestImage], folder: Path, *, can_kvm: bool) -> Iterator[Appliance]:
    """The appliance with `images`, which it can only read; it works in `folder`.

    When the block is left by an exception, it is killed.

    Raises:
        ToolError: guestfish is missing (``E_TOOL_MISSING``), or the appliance does not start (``E_TOOL_FAILED``).
    """
    drives = [word for image in images for word in (f"--format={image.image_format}", "-a", image.path)]
    command = [_PROGRAM, "--ro", *drives]
    environment = guestfs_environment(folder, can_kvm=can_kvm)
    with started(
        command, package=PACKAGE, timeout_seconds=_TIMEOUT_SECONDS, cwd=folder, environment=environment
    ) as shell:
        appliance = Appliance(shell, folder)
        appliance.run()
        yield appliance
        shell.finish(timeout_seconds=_END_SECONDS)


class Appliance:
    """A running appliance. Questions that it cannot answer have an empty answer."""

    def __init__(self, shell: Running, folder: Path) -> None:
        """Talk with `shell`, which runs in `folder`; what is fetched goes there."""
        self._shell, self._folder = shell, folder
        self._mark = secrets.token_hex(16)

    def run(self) -> None:
        """Start it. Raises `ToolError`."""
        self._say("run")

    def ask(self, *words: str) -> str:
        """The answer to a command of guestfish(1), without the line feed behind it. Raises `ToolError`."""
        return self.ask_bytes(*words).decode(errors="replace").removesuffix("\n")

    def lines(self, *words: str) -> list[str]:
        """The lines of an answer. Raises `ToolError`."""
        return self.ask(*words).splitlines()

    def ask_bytes(self, *words: str) -> bytes:
        """The answer, byte for byte. Raises `ToolError`."""
        if not all(map(_PLAIN.fullmatch, words)):
            return b""
        command, *arguments = words
        return self._say(" ".join((f"-{command}", *(f'"{argument}"' for argument in arguments))))

    def complaints(self) -> str:
        """What guestfish has complained about so far, on one line."""
        return without_advice(self._shell.complaints())

    def is_file(self, path: str) -> bool:
        """Whether the guest has the file `path`, perhaps by a link. Raises `ToolError`."""
        return self.ask("is-file", path, "followsymlinks:true") == "true"

    def read(self, path: str) -> bytes:
        """What the file `path` of the guest begins with; empty when there is none. Raises `ToolError`."""
        return self.ask_bytes("pread", path, str(_LONGEST_ANSWER // 2), "0") if self.is_file(path) else b""

    def fetch(self, path: str, *, most_bytes: int) -> Path | None:
        """The beginning of the file `path` of the guest, as a file here until the next call; None without one."""
        fetched = self._folder / _FETCHED
        fetched.unlink(missing_ok=True)
        if self.is_file(path):
            self._say(f'-download-offset "{path}" {_FETCHED} 0 {most_bytes}')
        return fetched if fetched.exists() else None

    def _say(self, command: str) -> bytes:
        """The answer to a line; an error is none, unless guestfish ends with it."""
        end = f"{self._mark}\n".encode()
        self._shell.write(f"{command}\necho {self._mark}\n")
        answer = bytearray()
        while not answer.endswith(end):
            if not (chunk := self._shell.read()):
                failure = self._shell.failure()
                raise ToolError(without_advice(failure.message), code=failure.code)
            answer += chunk
            if len(answer) > _LONGEST_ANSWER:
                raise ToolError(
                    f"{printable(command)}: the answer has more than {_LONGEST_ANSWER} bytes", code="E_TOOL_FAILED"
                )
        return bytes(answer[: -len(end)])

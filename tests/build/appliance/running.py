"""Starts a guest in QEMU, without any hypervisor management, to see whether an image boots."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_OVMF = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
_OVMF_VARIABLES = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
_PAUSE_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class Guest:
    """A running guest.

    Attributes:
        process: QEMU.
        console: file with all that the serial port said.
        url: the guest's page, through a forwarded port.
    """

    process: subprocess.Popen[bytes]
    console: Path
    url: str

    def wait_for(self, text: str, *, seconds: float = 120) -> str:
        """Wait until the console says `text`; returns all that it said.

        Raises:
            TimeoutError: it does not in `seconds`, or QEMU ended; with the end of what it said.
        """
        deadline = time.monotonic() + seconds
        while text not in (said := self.console.read_text(errors="replace")):
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise TimeoutError(f"console never said {text!r} but: {said[-2000:]}")
            time.sleep(_PAUSE_SECONDS)
        return said

    def page(self, *, seconds: float = 60) -> str:
        """The page that the guest serves. Raises `OSError` when it serves none in `seconds`."""
        deadline = time.monotonic() + seconds
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while True:
            try:
                with direct.open(self.url, timeout=1) as answer:
                    return str(answer.read().decode())
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE_SECONDS)


@contextlib.contextmanager
def run_guest(image: Path, *, firmware: str, scratch: Path, drive: str = "virtio") -> Iterator[Guest]:
    """Start a guest from `image` (a qcow2, which it may write to) and stop it at the end.

    Args:
        image: the boot disk.
        firmware: ``bios`` or ``efi``.
        scratch: folder for the console's file and the EFI variables.
        drive: QEMU's interface for the disk.
    """
    console, port = scratch / "console.log", _free_port()
    console.write_bytes(b"")
    command = [
        *("qemu-system-x86_64", "-accel", "tcg", "-m", "512", "-display", "none", "-serial", f"file:{console}"),
        *("-drive", f"file={image},format=qcow2,if={drive}", "-nic"),
        f"user,model=e1000,hostfwd=tcp:127.0.0.1:{port}-:80",
        *(_efi_arguments(scratch) if firmware == "efi" else ()),
    ]
    with subprocess.Popen(command) as process:
        try:
            yield Guest(process=process, console=console, url=f"http://127.0.0.1:{port}/")
        finally:
            process.kill()


def _efi_arguments(scratch: Path) -> Iterator[str]:
    variables = scratch / "efi-variables.fd"
    variables.write_bytes(_OVMF_VARIABLES.read_bytes())
    yield from ("-drive", f"if=pflash,format=raw,readonly=on,file={_OVMF}")
    yield from ("-drive", f"if=pflash,format=raw,file={variables}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

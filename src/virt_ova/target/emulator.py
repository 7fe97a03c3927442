"""What the QEMU on this host can do.

Whether KVM really runs a machine is tried, because ``/dev/kvm`` may be there and not serve: inside a virtual machine
it can be a stand-in that emulates the guest's instructions so slowly that no system boots, or QEMU aborts on it. So a
machine is run: the firmware starts a boot sector, which ends QEMU through its debug port. Real KVM needs about 0.1 s of
processor time for that, as emulation does; more than `_CPU_SECONDS` is no KVM worth having. Processor time, because
that does not grow on a busy host.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Final

from virt_ova.errors import ToolError
from virt_ova.process import run

DEVICE: Final = Path("/dev/kvm")

PACKAGE: Final = "qemu-system-x86"
"""Debian package of the emulator."""

_DEVICE_LINE: Final = re.compile(rb'^name "([^"]+)"', re.MULTILINE)

_CPU_SECONDS: Final = 1
_TIMEOUT_SECONDS: Final = 10
_PORT: Final = 0xF4
_WORD: Final = 0x15
_EXIT_STATUS: Final = _WORD << 1 | 1
"""How QEMU ends when the guest writes `_WORD` to its ``isa-debug-exit`` device."""

_BOOT_SECTOR: Final = bytes(
    [0xB0, _WORD, 0xBA, _PORT, 0x00, 0xEE, 0xF4]  # mov al, _WORD; mov dx, _PORT; out dx, al; hlt
).ljust(510, b"\0") + bytes([0x55, 0xAA])


def kvm_runs(emulator: str) -> bool:
    """Whether `emulator` (``qemu-system-x86_64``) can run a machine under KVM as this user."""
    return os.access(DEVICE, os.R_OK | os.W_OK) and accelerator_runs(emulator, "kvm")


def accelerator_runs(emulator: str, accelerator: str) -> bool:
    """Whether a boot sector ran to its end under `accelerator` (``kvm``, ``tcg``)."""
    with tempfile.NamedTemporaryFile(prefix="virt-ova-probe-") as image:
        image.write(_BOOT_SECTOR)
        image.flush()
        try:
            done = run(
                _probe_command(emulator, accelerator, image.name),
                package=PACKAGE,
                timeout_seconds=_TIMEOUT_SECONDS,
                cpu_seconds=_CPU_SECONDS,
                check=False,
            )
        except ToolError:
            return False
    return done.status == _EXIT_STATUS


def _probe_command(emulator: str, accelerator: str, image: str) -> list[str]:
    """The smallest machine that runs a boot sector from `image`."""
    return [
        emulator, "-accel", accelerator, "-machine", "pc", "-cpu", "max", "-m", "16", "-nodefaults", "-no-user-config",
        "-display", "none", "-no-reboot", "-device", f"isa-debug-exit,iobase={_PORT},iosize=1",
        "-drive", f"if=ide,format=raw,snapshot=on,file={image}",
    ]  # fmt: skip


def device_names(emulator: str) -> frozenset[str]:
    """Names of the devices that `emulator` has.

    Raises:
        ToolError: it is missing or fails.
    """
    listed = run([emulator, "-machine", "none", "-device", "help"], package=PACKAGE).stdout
    return frozenset(name.decode() for name in _DEVICE_LINE.findall(listed))

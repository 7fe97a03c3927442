"""Boot sectors: the smallest guests, each of which does one thing. All are silent on the serial port.

The one that speaks there is `tests.build.plans.talking_boot_sector`.
"""

from __future__ import annotations

from typing import Final

_ORIGIN: Final = 0x7C00
_HALT: Final = bytes.fromhex("f4 ebfd")  # hlt; jmp hlt


def showing(text: bytes) -> bytes:
    """It writes `text`, without NUL, on the screen, and halts."""
    before = bytes.fromhex("31c0 8ed8 be")  # xor ax, ax; mov ds, ax; mov si, message
    after = bytes.fromhex("ac 84c0 7409 b40e bb0700 cd10 ebf2")  # lodsb; test al, al; jz end; int 10h teletype; loop
    message = _ORIGIN + len(before) + 2 + len(after) + len(_HALT)
    return _signed(before + message.to_bytes(2, "little") + after + _HALT + text + b"\0")


def blank() -> bytes:
    """It clears the screen and halts; the cursor blinks on."""
    return _signed(bytes.fromhex("b80300 cd10") + _HALT)  # mov ax, 3; int 10h: set the text mode


def restless() -> bytes:
    """It writes a letter at every tick of the clock."""
    return _signed(bytes.fromhex("fb b8610e bb0700 cd10 f4 ebf5"))  # sti; mov ax, 0e61h; int 10h; hlt; loop


def _signed(code: bytes) -> bytes:
    return code.ljust(510, b"\0") + b"\x55\xaa"

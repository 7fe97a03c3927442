"""Boot sectors: the smallest guests, each of which does one thing. All are silent on the serial port.

The one that speaks there is `tests.build.plans.talking_boot_sector`.
"""

from __future__ import annotations

from typing import Final

_ORIGIN: Final = 0x7C00
PAINTED: Final = "#0078d7"
"""A blue of Windows."""

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


def painted() -> bytes:
    """It has a picture of 800 by 600 pixels: a white bar on `PAINTED`."""
    code = bytes.fromhex(
        "b8024f bb0301 cd10"  # mov ax, 4f02h; mov bx, 103h; int 10h: 256 colours, through a window of 64 KiB
        "bac803 b001 ee 42 b000 ee b01e ee b035 ee"  # colour 1, in parts of 63
        "b800a0 8ec0 31d2"  # mov ax, 0a000h; mov es, ax; xor dx, dx
        "52 b8054f 31db cd10 31ff b80101 b90080 f3ab 5a 42 83fa08 75e7"  # fill window dx, up to the eighth
        "ba0200 b8054f 31db cd10 31ff b80f0f b90010 f3ab"  # the bar, in window 2
    )
    return _signed(code + _HALT)


def _signed(code: bytes) -> bytes:
    return code.ljust(510, b"\0") + b"\x55\xaa"

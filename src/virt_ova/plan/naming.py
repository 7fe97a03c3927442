"""Names that this project gives: machines and image files.

A package's name is data: it may hold a path, a newline, an option (``-rf``) or nothing at all. So a machine's name is
mapped into a small set of characters that every hypervisor, file system and shell takes, and image files are named by
us alone. A name that a person chose is checked, never altered.

Image names hold no random part, so that a plan stays the same for the same input; that they cannot replace another file
is the target's part, which creates exclusively and refuses what is there (``E_EXISTS``).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

from virt_ova.errors import PlanError
from virt_ova.plan.machine import DriveKind
from virt_ova.plan.plan import ImageFormat
from virt_ova.text import quoted

MAX_LENGTH = 63
"""Most characters of a machine's name."""

DEFAULT_NAME = "appliance"
"""Name of a machine whose package gives nothing usable."""

_SAFE = re.compile(rf"[A-Za-z0-9][A-Za-z0-9 ._+-]{{0,{MAX_LENGTH - 1}}}")
_UNSAFE_RUN = re.compile(r"[^A-Za-z0-9 ._+-]+")
_LONGEST_READ = 1024
_IMAGE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]{0,127}")


def machine_name(text: str) -> str:
    """A safe name made from a package's `text`: accents folded, other characters joined into ``-``.

    The result matches ``[A-Za-z0-9][A-Za-z0-9 ._+-]{0,62}``; text without a letter or digit gives `DEFAULT_NAME`.
    """
    folded = unicodedata.normalize("NFKD", text[:_LONGEST_READ])
    base = "".join(char for char in folded if not unicodedata.combining(char))
    name = _UNSAFE_RUN.sub("-", base).lstrip(" ._+-")[:MAX_LENGTH].rstrip(" ._+-")
    return name or DEFAULT_NAME


def check_name(text: str) -> str:
    """`text`, a name that a person chose, if it can be a machine's name.

    Raises:
        PlanError: it cannot (``E_NAME``).
    """
    if _SAFE.fullmatch(text):
        return text
    raise PlanError(
        f"the name {quoted(text)} cannot be used, expected 1 to {MAX_LENGTH} letters, digits, blanks or any of ._+-, "
        "the first a letter or digit",
        code="E_NAME",
        hint=f"Use {quoted(machine_name(text))}.",
    )


def unique_name(name: str, taken: Collection[str]) -> str:
    """`name`, with a number behind it when it is among `taken`."""
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        suffix = f"-{number}"
        candidate = name[: MAX_LENGTH - len(suffix)].rstrip(" ._+-") + suffix
    return candidate


def image_name(machine: str, number: int, kind: DriveKind, image_format: ImageFormat) -> str:
    """File or volume name of a machine's `number`-th image of that kind: ``web-disk1.qcow2``, ``web-cdrom1.iso``."""
    extensions = {DriveKind.CDROM: "iso", DriveKind.FLOPPY: "img"}
    extension = extensions.get(kind, image_format.value)
    return f"{machine}-{kind}{number}.{extension}"


def environment_image_name(machine: str) -> str:
    """File or volume name of the CD that holds a machine's OVF environment."""
    return f"{machine}-ovfenv.iso"


def variables_image_name(machine: str) -> str:
    """File or volume name of a machine's EFI variables that come from its package."""
    return f"{machine}-efi-vars.fd"


def trial_image_name(machine: str) -> str:
    """The same for the copy that a machine has while it is tried."""
    return f"{machine}-trial-efi-vars.fd"


def is_image_name(text: str) -> bool:
    """Whether `text` can be an image's name: one path component, no leading ``-`` or dot."""
    return _IMAGE_NAME.fullmatch(text) is not None

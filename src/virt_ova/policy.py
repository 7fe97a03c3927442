"""Whom to trust, and what to demand of a package before anything of it is used.

It is a value that the caller gives; only the command line reads it from files.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

MAX_ANCHOR_BYTES: Final = 4 << 20
"""Of a file of anchors; all that a system trusts for TLS takes a quarter of a million."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrustAnchor:
    """Certificates to trust: authorities, or signers themselves.

    Attributes:
        name: what to call them in a message, such as the file's path.
        pem: one certificate or several.
    """

    name: str
    pem: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrustPolicy:
    """What signatures are worth.

    Attributes:
        anchors: whom to trust; nobody is trusted unasked, not even the authorities that the system trusts for TLS.
        require_signature: refuse every package that is not ``signed-trusted``.
        demanded_by: who says so, for messages.
    """

    anchors: tuple[TrustAnchor, ...] = ()
    require_signature: bool = False
    demanded_by: str = "the policy"

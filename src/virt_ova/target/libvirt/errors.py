"""The border to libvirt: its errors become ours here and nowhere else.

libvirt tells errors apart by a *domain* (which part of it failed) and a *code* (``virErrorDomain``, ``virErrorNumber``
in ``libvirt/virterror.h``); system errors carry ``errno`` in ``int1``. Its own words are kept, in whatever language it
has them, so nothing here looks at the words.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import libvirt

from virt_ova.errors import SpaceError, TargetError
from virt_ova.text import printable

_LIMIT: Final = 600
"""Most characters of libvirt's words that are shown; QEMU's complaints can be long."""

_BY_CODE: Final = {
    libvirt.VIR_ERR_NO_CONNECT: "E_CONNECT",
    libvirt.VIR_ERR_INVALID_CONN: "E_CONNECT",
    libvirt.VIR_ERR_UNKNOWN_HOST: "E_CONNECT",
    libvirt.VIR_ERR_RPC: "E_CONNECT",
    libvirt.VIR_ERR_GNUTLS_ERROR: "E_CONNECT",
    libvirt.VIR_ERR_AUTH_FAILED: "E_CONNECT",
    libvirt.VIR_ERR_AUTH_CANCELLED: "E_CONNECT",
    libvirt.VIR_ERR_AUTH_UNAVAILABLE: "E_CONNECT",
    libvirt.VIR_ERR_LIBSSH: "E_CONNECT",
    libvirt.VIR_ERR_SSH: "E_CONNECT",
    libvirt.VIR_ERR_NO_CLIENT: "E_CONNECT",
    libvirt.VIR_ERR_NO_SERVER: "E_CONNECT",
    libvirt.VIR_ERR_ACCESS_DENIED: "E_ACCESS",
    libvirt.VIR_ERR_OPERATION_DENIED: "E_ACCESS",
    libvirt.VIR_ERR_DOM_EXIST: "E_EXISTS",
    libvirt.VIR_ERR_NETWORK_EXIST: "E_EXISTS",
    libvirt.VIR_ERR_STORAGE_VOL_EXIST: "E_EXISTS",
    libvirt.VIR_ERR_NO_STORAGE_POOL: "E_POOL",
    libvirt.VIR_ERR_INVALID_STORAGE_POOL: "E_POOL",
    libvirt.VIR_ERR_NO_STORAGE_VOL: "E_VOLUME",
    libvirt.VIR_ERR_INVALID_STORAGE_VOL: "E_VOLUME",
    libvirt.VIR_ERR_NO_NETWORK: "E_NETWORK",
    libvirt.VIR_ERR_INVALID_NETWORK: "E_NETWORK",
    libvirt.VIR_ERR_NO_DOMAIN: "E_DOMAIN",
    libvirt.VIR_ERR_INVALID_DOMAIN: "E_DOMAIN",
    libvirt.VIR_ERR_NO_SUPPORT: "E_NOT_SUPPORTED",
    libvirt.VIR_ERR_CONFIG_UNSUPPORTED: "E_NOT_SUPPORTED",
    libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED: "E_NOT_SUPPORTED",
    libvirt.VIR_ERR_OPERATION_UNSUPPORTED: "E_NOT_SUPPORTED",
}
_BY_DOMAIN: Final = {
    libvirt.VIR_FROM_RPC: "E_CONNECT",
    libvirt.VIR_FROM_REMOTE: "E_CONNECT",
    libvirt.VIR_FROM_NETWORK: "E_NETWORK",
}
SPACE_HINT: Final = "Free some space or choose another pool with --pool."

_HINTS: Final = {
    "E_CONNECT": "Check that the daemon runs and that you may use it: virsh -c URI version.",
    "E_ACCESS": "Run as root, or join the group libvirt.",
    "E_SPACE": SPACE_HINT,
    "E_EXISTS": "Choose another name with --name.",
    "E_POOL": "See the pools with: virsh pool-list --all.",
}
_BY_ERRNO: Final = dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "E_SPACE") | {errno.EEXIST: "E_EXISTS"}


def silence() -> None:
    """Keep libvirt from printing errors to stderr, as it does unless told otherwise; for the whole process."""
    libvirt.registerErrorHandler(_ignore, None)


def _ignore(_context: object, _error: object) -> None:
    """Every error is also raised."""


@contextmanager
def translated(doing: str, *, otherwise: str = "E_LIBVIRT") -> Iterator[None]:
    """Turn an error of libvirt into one of ours.

    Args:
        doing: what is being done, as ``defining 'web'``; the message is that it failed.
        otherwise: code for an error that has no better one.

    Raises:
        TargetError: libvirt raised an error.
        SpaceError: libvirt ran out of room (``E_SPACE``).
    """
    try:
        yield
    except libvirt.libvirtError as exc:
        code = code_of(exc) or otherwise
        words = (exc.get_error_message() or str(exc)).strip()
        message = f"{doing} failed: {printable(words, limit=_LIMIT)}"
        kind = SpaceError if code == "E_SPACE" else TargetError
        raise kind(message, code=code, hint=_HINTS.get(code, "")) from exc


def code_of(error: Any) -> str:  # noqa: ANN401 - libvirt has no types
    """Our code for an error of libvirt; empty when it has none of its own."""
    if error.get_error_code() == libvirt.VIR_ERR_SYSTEM_ERROR and (code := _BY_ERRNO.get(error.get_int1())):
        return code
    return _BY_CODE.get(error.get_error_code()) or _BY_DOMAIN.get(error.get_error_domain()) or ""


@contextmanager
def absent_is_fine(*codes: int) -> Iterator[None]:
    """Pass over errors of libvirt with one of `codes`: what should go is gone, what may be missing is missing."""
    try:
        yield
    except libvirt.libvirtError as exc:
        if exc.get_error_code() not in codes:
            raise

"""The border to the vSphere API: what it raises becomes one of our errors here."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import BadStatusLine, HTTPException, RemoteDisconnected, UnknownProtocol
from typing import Any, Final

from pyVmomi import vim, vmodl

from virt_ova.errors import SpaceError, TargetError
from virt_ova.target.esx.tls import ThumbprintError
from virt_ova.text import printable, quoted

REFUSED_HINT: Final = "Look at the host's log (hostd.log, vpxd.log) for the reason; 503 mostly means that it is busy."
"""For who is refused a file, to send or to read."""

BROKEN_LINE: Final = (OSError, HTTPException)
"""What is raised when the other end cannot be reached, goes away, or does not speak the protocol."""

_LIMIT: Final = 500
_NOT_VSPHERE: Final = "Check the host and the port of the URI: an ESXi or a vCenter must answer there."
_ANOTHER: Final = (
    "Somebody may stand between here and the host, or it has a new certificate: look at it on the host's own screen. "
    "If it is the same, correct the URI's thumbprint, or what the vCenter knows of its host."
)
_NOTHING: Final = re.compile(r"(?:'NoneType' object has no attribute '|Required field \")(\w{1,80})")
"""What Python says of None that is used as an object, and pyvmomi of None in a question."""

_OTHER: Final = re.compile(
    r"(?:'vim\.[\w.]{1,80}' object has no attribute '|^For \"|^)(\w{1,80})(?:'?$|\" expected type )"
)
"""What they say of an object of another kind that is used, and in a question."""

_CHANGED: Final = (
    "Look at the host's log (hostd.log, vpxd.log); something between here and the host may have changed its answer."
)
_CODES: Final = (
    (vim.fault.InvalidLogin, "E_AUTH"),
    (vim.fault.NotAuthenticated, "E_SESSION"),
    (vim.fault.NoPermission, "E_ACCESS"),
    (vim.fault.DuplicateName, "E_EXISTS"),
    (vim.fault.AlreadyExists, "E_EXISTS"),
    (vim.fault.FileAlreadyExists, "E_EXISTS"),
    (vim.fault.NoDiskSpace, "E_SPACE"),
    (vim.fault.InsufficientStorageSpace, "E_SPACE"),
    (vmodl.fault.NotSupported, "E_NOT_SUPPORTED"),
    (vmodl.fault.MethodNotFound, "E_NOT_SUPPORTED"),
    (vim.fault.RestrictedVersion, "E_NOT_SUPPORTED"),
)
"""The first that a fault is one of; all others are ``E_VSPHERE``."""

_HINTS: Final = {
    "E_AUTH": "Check the user and the password; several wrong ones lock an account for some minutes.",
    "E_SESSION": "The session was ended on the server, by a timeout or by an administrator: try again.",
    "E_ACCESS": "The user needs the privileges to import a vApp, to allocate space and to assign a network; for an "
    "export, the one to export a vApp.",
    "E_NOT_SUPPORTED": "This server cannot do that. With a free licence, an ESXi lets no program change anything; "
    "a vApp needs a cluster with DRS, or a single host.",
    "E_VSPHERE": "Look at the tasks and events of the host or vCenter.",
    "E_EXISTS": "Choose another name with --name.",
    "E_SPACE": "Free some space or choose another datastore with --pool.",
    "E_CONNECT": "Check that the host is there and the network is up, then try again.",
    "E_TLS": "Add ?thumbprint=SHA256 of the certificate to the URI once you know that it is the host's own.",
}


class GarbledError(HTTPException):
    """Something answers that does not speak the API."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"what came is no answer of vSphere ({reason})")


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn what the API raises into one of our errors; `doing` says what is being done, as ``logging in at 'esx1'``.

    Nearly everything in an answer may be left out, and is None then; and nearly every object may be one of another
    kind. What should not have been is found when it is used, or told in another question.

    Raises:
        TargetError: it failed.
        SpaceError: there is no room (``E_SPACE``).
    """
    try:
        yield
    except (vmodl.MethodFault, *BROKEN_LINE) as exc:
        raise error_of(exc, doing) from exc
    except (AttributeError, TypeError) as exc:
        if found := _NOTHING.search(str(exc)):
            problem = "nothing is there for"
        elif found := _OTHER.search(str(exc)):
            problem = "something of another kind is there for"
        else:
            raise
        raise TargetError(
            f"{doing} failed: the server's answer makes no sense: {problem} {quoted(found[1])}",
            code="E_VSPHERE",
            hint=_CHANGED,
        ) from exc


def error_of(exc: BaseException, doing: str) -> TargetError:
    """The error for what the API raised."""
    code = _code_of(exc)
    kind = SpaceError if code == "E_SPACE" else TargetError
    return kind(f"{doing} failed: {words_of(exc)}", code=code, hint=_hint_for(exc, code))


def _hint_for(exc: BaseException, code: str) -> str:
    if isinstance(exc, ThumbprintError):
        return _ANOTHER
    is_other = isinstance(exc, GarbledError | ssl.SSLError) and not isinstance(exc, ssl.SSLEOFError)
    return _NOT_VSPHERE if is_other and code == "E_CONNECT" else _HINTS.get(code, "")


def words_of(fault: Any) -> str:  # noqa: ANN401 - pyvmomi has no types
    """What a fault says, in one line; its kind when it says nothing."""
    if isinstance(fault, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {printable(fault.verify_message)}"
    if isinstance(fault, ssl.SSLEOFError):
        return "the other end broke the connection off"
    if isinstance(fault, ssl.SSLError):
        return f"it does not speak TLS as expected ({printable(fault.reason or type(fault).__name__)})"
    if isinstance(fault, TimeoutError):
        return "no answer came in time"
    if isinstance(fault, BadStatusLine | UnknownProtocol) and not isinstance(fault, RemoteDisconnected):
        return f"its answer begins with {quoted(str(fault).strip())}, expected that of HTTP/1.1"
    said = getattr(fault, "msg", None) or getattr(fault, "strerror", None) or ""
    if not said and isinstance(fault, BROKEN_LINE):
        said = str(fault)
    kind = type(fault).__name__.rpartition(".")[2]
    return printable(str(said).strip() or kind, limit=_LIMIT).rstrip(".")


def _code_of(exc: BaseException) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError | ThumbprintError):
        return "E_TLS"
    if isinstance(exc, BROKEN_LINE):
        return "E_CONNECT"
    return next((code for kind, code in _CODES if isinstance(exc, kind)), "E_VSPHERE")

"""Who logs in, and by which password.

The first that has one counts: the environment (``VIRT_OVA_VSPHERE_PASSWORD``, ``VIRT_OVA_VSPHERE_USER``), libvirt's
file of credentials (https://libvirt.org/auth.html#client-configuration), whoever is asked. A password is never in a
repr, a message or a command line.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from virt_ova.errors import TargetError
from virt_ova.paths import PATH_ERRORS, path_problem
from virt_ova.target.esx.uri import Address
from virt_ova.target.importing import Ask
from virt_ova.text import quoted

USER_VARIABLE: Final = "VIRT_OVA_VSPHERE_USER"
PASSWORD_VARIABLE: Final = "VIRT_OVA_VSPHERE_PASSWORD"  # noqa: S105 - the name of a variable

_FILE_VARIABLE: Final = "LIBVIRT_AUTH_FILE"
_SERVICE: Final = "auth-esx"
"""libvirt calls a vCenter so, too."""

_MAX_FILE_BYTES: Final = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """A user and a password."""

    user: str
    password: str = field(repr=False)


def find_credentials(address: Address, ask: Ask | None) -> Credentials:
    """Who logs in at `address`.

    Args:
        address: the URI's user comes before all others.
        ask: asks a person; None when there is nobody.

    Raises:
        TargetError: no password is to be had, or the file of credentials cannot be read (``E_AUTH``).
    """
    filed = _filed(address)
    user = address.user or os.environ.get(USER_VARIABLE) or filed.get("username", "")
    if not user and ask:
        user = ask(f"User name for {address.host}: ", is_secret=False)
    if not user:
        raise _nobody(address, "user")
    password = os.environ.get(PASSWORD_VARIABLE, "")
    if not password and filed.get("username", user) == user:
        password = filed.get("password", "")
    if not password and ask:
        password = ask(f"Password of {user} for {address.host}: ", is_secret=True)
    if not password:
        raise _nobody(address, "password")
    for what, text in (("user", user), ("password", password)):
        if any("\ud800" <= char <= "\udfff" for char in text):
            raise TargetError(
                f"the {what} to log in at {quoted(address.host)} is not UTF-8",
                code="E_AUTH",
                hint="Look at how it was put into the environment or the URI.",
            )
    return Credentials(user=user, password=password)


def _nobody(address: Address, what: str) -> TargetError:
    return TargetError(
        f"there is no {what} to log in at {quoted(address.host)}",
        code="E_AUTH",
        hint=f"Put it into libvirt's auth.conf ([{_SERVICE}-{address.host}]), set {USER_VARIABLE} and "
        f"{PASSWORD_VARIABLE}, or run it on a terminal and answer.",
    )


def _filed(address: Address) -> dict[str, str]:
    """What the first file of credentials that is there says of the host; empty when it says nothing."""
    path = next((path for path in _files(address) if path.exists()), None)
    if path is None:
        if address.auth_file:
            raise _unreadable(Path(address.auth_file), "there is no such file")
        return {}
    parser = configparser.RawConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#",))
    try:
        with path.open(encoding="utf-8") as file:
            parser.read_string(file.read(_MAX_FILE_BYTES))
    except UnicodeDecodeError:
        raise _unreadable(path, "it is not UTF-8") from None
    except PATH_ERRORS as exc:
        raise _unreadable(path, path_problem(exc)) from exc
    except configparser.Error:
        raise _unreadable(path, "it is no file of sections with KEY=VALUE lines") from None
    for section in (f"{_SERVICE}-{address.host}", f"{_SERVICE}-default"):
        name = parser.get(section, "credentials", fallback="").strip()
        if name and parser.has_section(f"credentials-{name}"):
            return dict(parser.items(f"credentials-{name}"))
    return {}


def _files(address: Address) -> Iterator[Path]:
    """Where libvirt looks."""
    if named := address.auth_file or os.environ.get(_FILE_VARIABLE):
        yield Path(named)
        return
    yield Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "libvirt" / "auth.conf"
    yield Path("/etc/libvirt/auth.conf")


def _unreadable(path: Path, reason: str) -> TargetError:
    return TargetError(
        f"the file of credentials {quoted(str(path))} cannot be read: {reason}",
        code="E_AUTH",
        hint="Correct it, or name another one by LIBVIRT_AUTH_FILE or the URI's authfile.",
    )

"""Connection URIs of vSphere, spelt as libvirt spells them (https://libvirt.org/drvesx.html).

::

    esx://[user@]host[:port]/
    vpx://[user@]vcenter[:port]/datacenter/[folder/]cluster-or-host[/host]

Behind ``?`` may follow, joined by ``&``: ``no_verify=1`` (take any certificate), ``thumbprint=HEX`` (take this one),
``folder=PATH`` and ``resource_pool=PATH`` (where machines go), ``authfile=PATH`` (libvirt's file of credentials). A
password has no place in a URI, which everyone on the host can read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from virt_ova.errors import TargetError
from virt_ova.text import printable, quoted, without_secrets

VCENTER: Final = "vpx"

_PORT: Final = 443
_THUMBPRINT: Final = re.compile("(?:[0-9a-f]{40}|[0-9a-f]{64})")
_LABEL: Final = re.compile("^sha-?(?:1|256)[:=]", re.IGNORECASE)
_PARAMETERS: Final = ("no_verify", "thumbprint", "folder", "resource_pool", "authfile")
_SAID_ELSEWHERE: Final = ("transport", "auto_answer", "proxy", "vcenter")
"""Parameters of libvirt that mean nothing here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """Where a vSphere is, and where in it machines go.

    Attributes:
        uri: without secrets and parameters, for people.
        whole: without secrets, but with parameters: what opens it again.
        scheme: ``esx`` or ``vpx``.
        host: name or IP address.
        port: of the API.
        user: who logs in; empty when the URI does not say.
        path: names from the datacenter to the cluster or host; empty for ESXi.
        is_verified: whether the certificate must be valid.
        thumbprint: SHA-256 or SHA-1 of the only certificate that is taken, in lower-case hex; empty when any valid one
            is.
        folder: names below the datacenter's folder of machines.
        resource_pool: names below the cluster's root pool.
        auth_file: path of the file of credentials; empty for the usual ones.
    """

    uri: str
    whole: str
    scheme: str
    host: str
    port: int
    user: str
    path: tuple[str, ...]
    is_verified: bool
    thumbprint: str
    folder: tuple[str, ...]
    resource_pool: tuple[str, ...]
    auth_file: str

    @property
    def is_vcenter(self) -> bool:
        """Whether it is a vCenter, not a single host."""
        return self.scheme == VCENTER


def parse_address(uri: str) -> Address:
    """Read a connection URI.

    Raises:
        TargetError: it makes no sense, or holds a password (``E_URI``).
    """
    shown = without_secrets(uri)
    try:
        parts = urlsplit(uri)
        port, host = parts.port, parts.hostname
    except ValueError:  # whose text may be a part of a password
        raise _bad(shown, "no host and port that can be read", "a host, and perhaps a port") from None
    if parts.password is not None:
        raise _bad(shown, "a password", "none, because everyone on this host can read it")
    if not host:
        raise _bad(shown, "no host", f"{parts.scheme}://HOST/")
    path = _names(parts.path)
    if (parts.scheme == VCENTER) != bool(path):
        wanted = "vpx://VCENTER/DATACENTER/CLUSTER" if parts.scheme == VCENTER else "esx://HOST/"
        raise _bad(shown, f"the path {quoted(parts.path)}", wanted)
    settings = _settings(parts, shown)
    return Address(
        uri=shown.partition("?")[0],
        whole=shown,
        scheme=parts.scheme,
        host=host,
        port=port or _PORT,
        user=unquote(parts.username or ""),
        path=path,
        is_verified=_is_verified(settings.get("no_verify", "0"), shown),
        thumbprint=_thumbprint(settings.get("thumbprint", ""), shown),
        folder=_names(settings.get("folder", "")),
        resource_pool=_names(settings.get("resource_pool", "")),
        auth_file=settings.get("authfile", ""),
    )


def _settings(parts: SplitResult, shown: str) -> dict[str, str]:
    settings = dict(parse_qsl(parts.query.replace("+", "%2B"), keep_blank_values=True))  # a plus is no blank to libvirt
    for name in settings:
        if name not in (*_PARAMETERS, *_SAID_ELSEWHERE):
            raise _bad(shown, f"the parameter {quoted(name)}", " or ".join(_PARAMETERS))
    return settings


def _names(path: str) -> tuple[str, ...]:
    return tuple(unquote(part) for part in path.split("/") if part)


def _is_verified(text: str, shown: str) -> bool:
    if text not in {"0", "1"}:
        raise _bad(shown, f"no_verify={printable(text)}", "no_verify=0 or no_verify=1")
    return text == "0"


def _thumbprint(text: str, shown: str) -> str:
    plain = _LABEL.sub("", text.strip()).replace(":", "").lower()
    if plain and not _THUMBPRINT.fullmatch(plain):
        raise _bad(shown, f"the thumbprint {quoted(text)}", "the SHA-256 or SHA-1 of a certificate, in hex")
    return plain


def _bad(uri: str, found: str, expected: str) -> TargetError:
    return TargetError(
        f"{quoted(uri)} cannot be used: found {found}, expected {expected}",
        code="E_URI",
        hint="Write esx://USER@HOST/ or vpx://USER@VCENTER/DATACENTER/CLUSTER; the password is asked for, or read from "
        "libvirt's auth.conf or VIRT_OVA_VSPHERE_PASSWORD.",
    )

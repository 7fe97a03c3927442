"""Connection URIs of libvirt (https://libvirt.org/uri.html)."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit

_SECRET_WORDS = ("password", "passwd", "secret", "token")


def without_secrets(uri: str) -> str:
    """`uri` without a password and without parameters whose name says that they are secret."""
    parts = urlsplit(uri)
    user, at, host = parts.netloc.rpartition("@")
    netloc = f"{user.partition(':')[0]}{at}{host}"
    kept = [(key, value) for key, value in parse_qsl(parts.query, keep_blank_values=True) if not _is_secret(key)]
    query = f"?{urlencode(kept, safe='/:')}" if kept else ""
    return f"{parts.scheme}://{netloc}{parts.path}{query}"


def is_local(uri: str) -> bool:
    """Whether `uri` speaks to a daemon on this host, as far as the URI tells."""
    parts = urlsplit(uri)
    transport = parts.scheme.partition("+")[2]
    return not parts.netloc and transport in {"", "unix"}


def _is_secret(key: str) -> bool:
    return any(word in key.lower() for word in _SECRET_WORDS)

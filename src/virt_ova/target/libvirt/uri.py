"""Connection URIs of libvirt (https://libvirt.org/uri.html)."""

from __future__ import annotations

from urllib.parse import urlsplit


def is_local(uri: str) -> bool:
    """Whether `uri` speaks to a daemon on this host, as far as the URI tells."""
    parts = urlsplit(uri)
    transport = parts.scheme.partition("+")[2]
    return not parts.netloc and transport in {"", "unix"}

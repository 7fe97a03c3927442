"""Targets that take images, as opposed to packages."""

from __future__ import annotations

from virt_ova.target.base import Target
from virt_ova.target.importing import Importer
from virt_ova.target.registry import open_target


def open_plain(uri: str, *, pool: str | None = None) -> Target:
    """As `open_target`, for a URI of such a target."""
    target = open_target(uri, pool=pool)
    assert not isinstance(target, Importer)
    return target

"""From what the user names to an `Archive`.

A later kind of source (a pipe) is one more case in `_open_text` that gives a `ByteSource` to `index_tar`.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import BinaryIO

from virt_ova.errors import SourceError
from virt_ova.source.base import Archive, ByteSource
from virt_ova.source.directory import open_descriptor, open_directory
from virt_ova.source.file import LocalFile, open_file_object
from virt_ova.source.tar import index_tar

PackageSource = str | PathLike[str] | BinaryIO
"""What can be opened: a path, an http(s) URL, or an open binary file whose current position is the package's first."""

_HTTP_URL = re.compile(r"https?://", re.IGNORECASE)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def open_archive(source: PackageSource) -> Archive:
    """The members of the package at `source`: an OVA, a folder with a descriptor, or a descriptor (``.ovf``).

    Raises:
        SourceError: it cannot be opened (``E_SOURCE_OPEN``, ``E_HTTP_*``), is of a kind that cannot be read
            (``E_SOURCE_KIND``), or is no package (``E_NOT_OVA``, ``E_TAR_*``).
    """
    if isinstance(source, str):
        return _open_text(source)
    if isinstance(source, PathLike):
        return _open_path(os.fspath(source))
    opened, start = open_file_object(source)
    return _index(opened, start)


def _open_text(text: str) -> Archive:
    if _HTTP_URL.match(text):
        return _open_url(text)
    if _URL.match(text) or text == "-":
        kind = "standard input" if text == "-" else "a URL"
        raise SourceError(
            f"the source is {kind}, expected a path or an http(s) URL",
            code="E_SOURCE_KIND",
            hint="Save the package to a file first.",
        )
    return _open_path(text)


def _open_url(url: str) -> Archive:
    if url.partition("?")[0].lower().endswith(".ovf"):
        raise SourceError(
            "the source is the URL of a lone descriptor, expected that of an OVA",
            code="E_SOURCE_KIND",
            hint="Download the descriptor and its files into a folder, and give the folder's path.",
        )
    from virt_ova.source.http import HttpSource  # noqa: PLC0415 - its library is slow to load

    source = HttpSource(url)
    archive = _index(source, 0)
    return replace(archive, findings=(*source.findings, *archive.findings))


def _open_path(path: str) -> Archive:
    if Path(path).is_dir():
        return open_directory(path)
    if path.lower().endswith(".ovf"):
        return open_descriptor(path)
    return _index(LocalFile.open(path), 0)


def _index(source: ByteSource, start: int) -> Archive:
    try:
        return index_tar(source, start=start)
    except BaseException:
        source.close()
        raise

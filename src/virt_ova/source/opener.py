"""From what the user names to an `Archive`.

What can seek is indexed at once; what can only be read from front to back (a pipe, a gzip'd OVA) is opened up to its
first large member, and `Archive.rest` has the others.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from os import PathLike
from typing import BinaryIO

from virt_ova.errors import SourceError
from virt_ova.interrupt import held_back
from virt_ova.source.base import Archive, ByteSource, Member, MemberName
from virt_ova.source.directory import open_descriptor, open_directory
from virt_ova.source.file import LocalFile, is_pipe, name_of, open_file_object
from virt_ova.source.gzipped import MemberReader
from virt_ova.source.pipe import GZIP_MAGIC, FileReader, open_passing
from virt_ova.source.tar import index_tar

PackageSource = str | PathLike[str] | BinaryIO
"""What can be opened: a path, an http(s) URL, ``-`` for standard input, or an open binary file, from its current
position on."""

Keeps = Callable[[MemberName], bool]
"""Which members are kept in memory when they come from a pipe."""

DESCRIPTORS = (".ovf", ".vmx")
"""How the name of a descriptor ends."""

_HTTP_URL = re.compile(r"https?://", re.IGNORECASE)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def open_archive(source: PackageSource, *, keeps: Keeps = lambda _: False) -> Archive:
    """The members of the package at `source`: an OVA, gzip'd or not, a folder with a descriptor, or a descriptor.

    Args:
        source: where it is.
        keeps: which members are kept, when they are small, of a package that can be read only once.

    Raises:
        SourceError: it cannot be opened (``E_SOURCE_OPEN``, ``E_HTTP_*``), is of a kind that cannot be read
            (``E_SOURCE_KIND``), or is no package (``E_NOT_OVA``, ``E_TAR_*``, ``E_GZIP``).
    """
    if isinstance(source, str):
        return _open_text(source, keeps)
    if isinstance(source, PathLike):
        return _open_path(os.fspath(source), keeps)
    if is_pipe(source):
        return open_passing(FileReader(source, name_of(source)), keeps=keeps)
    opened, start = open_file_object(source)
    return _index(opened, start, keeps)


def _open_text(text: str, keeps: Keeps) -> Archive:
    if text == "-":
        return open_archive(_standard_input(), keeps=keeps)
    if _HTTP_URL.match(text):
        return _open_url(text, keeps)
    if _URL.match(text):
        raise SourceError(
            "the source is a URL, expected a path, an http(s) URL, or - for standard input",
            code="E_SOURCE_KIND",
            hint="Save the package to a file first.",
        )
    return _open_path(text, keeps)


def _standard_input() -> BinaryIO:
    if sys.stdin is None or sys.stdin.isatty():
        found = "closed" if sys.stdin is None else "a terminal"
        raise SourceError(
            f"standard input is {found}, expected a package",
            code="E_SOURCE_KIND",
            hint="Pipe one in ('curl -fsS URL | virt-ova install -'), or give its path.",
        )
    return sys.stdin.buffer


def _open_url(url: str, keeps: Keeps) -> Archive:
    if url.partition("?")[0].lower().endswith(DESCRIPTORS):
        raise SourceError(
            "the source is the URL of a lone descriptor, expected that of an OVA",
            code="E_SOURCE_KIND",
            hint="Download the descriptor and its files into a folder, and give the folder's path.",
        )
    with held_back():
        from virt_ova.source.http import HttpSource  # noqa: PLC0415 - its library is slow to load

    source = HttpSource(url)
    archive = _index(source, 0, keeps)
    return replace(archive, findings=(*source.findings, *archive.findings))


def _open_path(path: str, keeps: Keeps) -> Archive:
    if os.path.isdir(path):  # noqa: PTH112 - false for a path that cannot be examined; opening it tells why
        return open_directory(path)
    if path.lower().endswith(DESCRIPTORS):
        return open_descriptor(path)
    return _index(LocalFile.open(path), 0, keeps)


def _index(source: ByteSource, start: int, keeps: Keeps) -> Archive:
    try:
        size = max(0, source.size - start)
        if source.read_at(start, min(len(GZIP_MAGIC), size)) != GZIP_MAGIC:
            return index_tar(source, start=start)
        whole = Member(name=MemberName(source.name), source=source, offset=start, size=size)
        return open_passing(MemberReader(whole), keeps=keeps, beneath=source)
    except BaseException:
        source.close()
        raise

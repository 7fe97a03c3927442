"""Texts of the descriptor that lie in files of the package (DSP0243 10)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from virt_ova.errors import PackageError, SourceError
from virt_ova.ovf.envelope import Envelope
from virt_ova.ovf.messages import MAX_BUNDLE_BYTES
from virt_ova.package.files import resolve_file
from virt_ova.source.base import Archive, MemberName


@dataclass(frozen=True, kw_only=True, slots=True)
class StringsFile:
    """A file with texts: the member's name, and its content."""

    name: MemberName
    content: bytes


def read_strings(archive: Archive, envelope: Envelope) -> Mapping[str, StringsFile]:
    """The files with texts, by ``ovf:id``; those that are missing, passed by, compressed or too long are left out."""
    wanted = dict.fromkeys(envelope.strings_files)
    found = {}
    for file in envelope.files:
        if file.id not in wanted:
            continue
        resolved = resolve_file(file, archive.members)
        try:
            member = resolved.require_member()
            if not (resolved.compression or resolved.chunks) and member.size <= MAX_BUNDLE_BYTES:
                found[file.id] = StringsFile(name=member.name, content=member.read())
        except (PackageError, SourceError):
            continue
    return found

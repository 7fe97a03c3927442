"""What a file is that is no tar: known by its first bytes, so that the refusal can say what to do instead."""

from __future__ import annotations

from virt_ova.errors import SourceError
from virt_ova.text import quoted

HEAD_BYTES = 512
"""How much of the file's beginning is looked at."""

_UNPACK = "Unpack it first; an OVA is a plain tar."
_DISK = "It is a disk image, not a package."
_DESCRIPTOR = "Give an OVF descriptor's path; it must end in .ovf."
_VMX = "Give the path of the .vmx, which has its disks beside it; it must end in .vmx."
_DOWNLOAD = "The download may have failed: fetch it again."

_MAGICS: tuple[tuple[bytes, str, str], ...] = (
    (b"\x1f\x8b", "a gzip file", _UNPACK),
    (b"\xfd7zXZ\x00", "an xz file", _UNPACK),
    (b"BZh", "a bzip2 file", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "a zstd file", _UNPACK),
    (b"\x04\x22\x4d\x18", "an lz4 file", _UNPACK),
    (b"PK\x03\x04", "a zip archive", _UNPACK),
    (b"PK\x05\x06", "an empty zip archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (b"0707", "a cpio archive", _UNPACK),
    (b"MZ", "a Windows program", _UNPACK),
    (b"\x7fELF", "a program", ""),
    (b"KDMV", "a VMDK image", _DISK),
    (b"# Disk DescriptorFile", "a VMDK descriptor", _DISK),
    (b"QFI\xfb", "a qcow2 image", _DISK),
    (b"vhdxfile", "a VHDX image", _DISK),
    (b"conectix", "a VHD image", _DISK),
    (b"<<< ", "a VirtualBox disk image", _DISK),
    (b".encoding =", "a VMX", _VMX),
    (b"config.version =", "a VMX", _VMX),
    (b"#!/usr/bin/vmware", "a VMX", _VMX),
    (b"%PDF", "a PDF file", _DOWNLOAD),
    (b"<!doctype html", "a web page", _DOWNLOAD),
    (b"<html", "a web page", _DOWNLOAD),
    (b"<?xml", "an XML document", _DESCRIPTOR),
    (b"<envelope", "an XML document", _DESCRIPTOR),
    (b"<ovf:envelope", "an XML document", _DESCRIPTOR),
)
_MARKUP_START = b"\xef\xbb\xbf \t\r\n"


def not_an_ova(name: str, head: bytes) -> SourceError | None:
    """The error that names the real format of the file that begins with `head`, or None when it is not known."""
    markup = head.lstrip(_MARKUP_START).lower()
    for magic, kind, hint in _MAGICS:
        if head.startswith(magic) or (magic.startswith(b"<") and markup.startswith(magic)):
            return SourceError(f"{quoted(name)} is {kind}, expected an OVA (a tar)", code="E_NOT_OVA", hint=hint)
    return None

"""What is to be said of an archive as it was found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from virt_ova.findings import Finding, Severity
from virt_ova.package.descriptor import Descriptor
from virt_ova.package.manifest import Manifest
from virt_ova.source.base import Archive
from virt_ova.source.tar import CUT
from virt_ova.text import printable, quoted


def order_findings(archive: Archive, descriptor: Descriptor) -> tuple[Finding, ...]:
    """That its descriptor does not come first, as it should in an OVA."""
    if descriptor.is_vmx or archive.kind == "ovf" or next(iter(archive.members)) == descriptor.member.name:
        return ()
    message = "the descriptor is not the first member, as DSP0243 asks; some products refuse such an OVA"
    where = printable(descriptor.member.name)
    return (Finding(code="PKG_OVF_NOT_FIRST", severity=Severity.WARNING, message=message, where=where),)


def rest_findings(archive: Archive) -> tuple[Finding, ...]:
    """That only its beginning was read."""
    if archive.rest is None or archive.rest.waiting is None:
        return ()
    message = (
        f"only what stands before {quoted(archive.rest.waiting.name)} was read, as the package can be read once only: "
        "save it to a file to see the rest"
    )
    return (Finding(code="PKG_BEGINNING", severity=Severity.INFO, message=message, where=printable(archive.name)),)


def reassured(findings: Iterable[Finding], archive: Archive, manifest: Manifest | None) -> tuple[Finding, ...]:
    """`findings` without the fear that members were cut off, when all that the manifest lists are there."""
    if manifest is None or not manifest.entries.keys() <= archive.members.keys():
        return tuple(findings)
    message = "the tar has no end marker, which VirtualBox leaves out; all that the manifest lists is there"
    return tuple(
        replace(each, severity=Severity.INFO, message=message) if each.code == CUT else each for each in findings
    )

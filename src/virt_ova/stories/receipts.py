"""What a hypervisor says it received, against what was to be sent.

A file that went as it is has the digest that the manifest tells of it, and that was verified over the bytes that were
sent. So what the hypervisor hashed can be compared without hashing anything again here. ESXi hashes a stream-optimized
VMDK only to its end-of-stream marker; some writers, qemu-img among them, pad what comes behind it to a whole grain.
Such a disk is hashed again, to that end.
"""

from __future__ import annotations

import hashlib
from typing import Final

from virt_ova.disk.pump import read_spans, spans_between
from virt_ova.disk.vmdk.reader import VmdkReader
from virt_ova.errors import TargetError
from virt_ova.package.manifest import Digest
from virt_ova.package.package import Package
from virt_ova.source.base import Member
from virt_ova.target.importing import Receipt
from virt_ova.text import printable, quoted

ALGORITHMS: Final = ("SHA256", "SHA1")
"""What hypervisors hash by; the one asked for is the first that a manifest has."""


def algorithm_of(package: Package) -> str:
    """What the hypervisor is to hash the files of `package` by; empty when there is nothing to compare with."""
    digests = package.manifest.entries.values() if package.manifest else ()
    found = {digest.algorithm for digest in digests}
    return next((algorithm for algorithm in ALGORITHMS if algorithm in found), "")


def check_receipt(member: Member, expected: Digest, receipt: Receipt, *, is_disk: bool, is_gone: bool) -> None:
    """Compare what was received with `member`, which was sent as it is.

    Args:
        member: a file of the package.
        expected: its digest.
        receipt: what the hypervisor says of it.
        is_disk: whether it is a stream-optimized VMDK, which may have been read to its own end only.
        is_gone: whether it came out of a pipe; of a disk that did, only the beginning may be what was hashed, and
            nobody can tell.

    Raises:
        TargetError: they differ (``E_UPLOAD_DIGEST``).
        SourceError: the package cannot be read again.
    """
    if expected.algorithm != receipt.algorithm or expected.hex == receipt.hex:
        return
    if is_disk and (is_gone or _is_read_to_its_end(member, receipt)):
        return
    raise _differs(member, receipt, expected)


def _is_read_to_its_end(member: Member, receipt: Receipt) -> bool:
    """Whether what was received is the disk without what pads it."""
    end_bytes = VmdkReader(member).end_bytes
    digest = hashlib.new(receipt.algorithm.lower(), usedforsecurity=False)
    for piece in read_spans(spans_between(0, end_bytes), member.read_at):
        digest.update(piece.data)
    return digest.hexdigest() == receipt.hex


def _differs(member: Member, receipt: Receipt, expected: Digest) -> TargetError:
    return TargetError(
        f"the server received something else than {quoted(member.name)}: found {receipt.size_bytes} bytes with the "
        f"{receipt.algorithm} {printable(receipt.hex)}, expected {member.size} with {expected.hex}",
        code="E_UPLOAD_DIGEST",
        hint="Install again; if it happens again, look for faults in the network, memory and datastore of the host.",
    )

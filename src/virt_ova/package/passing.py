"""Digests of members whose bytes pass once.

A manifest that stands in front says which digest each member needs. One that comes last, as VirtualBox writes it, does
not: until then every member is hashed by each algorithm that is in use.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from virt_ova.errors import SourceError
from virt_ova.package.manifest import Digest, Manifest
from virt_ova.package.verify import DigestCheck, hash_member
from virt_ova.progress import Monitor
from virt_ova.source.base import Member, MemberName, Passing
from virt_ova.source.pipe import SAVE_FIRST
from virt_ova.text import printable, quoted
from virt_ova.units import MIB

BEFORE_MANIFEST: Final = ("SHA1", "SHA256", "SHA512")
"""No writer is known that puts a manifest with SHA-384 behind the files."""

_READ_BYTES: Final = MIB


class PassingHashes:
    """What passed, hashed."""

    def __init__(self, manifest: Manifest | None) -> None:
        """Begin; `manifest` is None when it has not come yet."""
        self._manifest = manifest
        self._taken: dict[MemberName, dict[str, DigestCheck]] = {}

    def start(self, member: Member) -> MemberHasher:
        """What to feed with every byte of `member`."""
        algorithms: Iterable[str] = BEFORE_MANIFEST
        if self._manifest is not None:
            expected = self._manifest.entries.get(member.name)
            algorithms = (expected.algorithm,) if expected else ()
        checks = {name: DigestCheck(member.name, Digest(algorithm=name, hex="")) for name in algorithms}
        self._taken[member.name] = checks
        return MemberHasher(tuple(checks.values()))

    def pass_over(self, passing: Passing, monitor: Monitor) -> None:
        """Hash a member and use it for nothing else. Raises `SourceError` when it cannot be read."""
        hasher = self.start(passing.member)
        step = f"Verifying {printable(passing.name)}"
        monitor.begin(step, passing.member.size)
        while data := passing.read(_READ_BYTES):
            hasher.update(data)
            monitor.advance(step, len(data))
        monitor.end(step)

    def check(self, member: Member, expected: Digest, monitor: Monitor) -> DigestCheck:
        """A check that has taken the whole of `member`, which passed or was kept.

        Raises:
            SourceError: it was not hashed in this way when it passed (``E_PIPE_ORDER``).
        """
        if member.name not in self._taken:
            return hash_member(member, expected, monitor)
        check = self._taken[member.name].get(expected.algorithm)
        if check is None:
            raise SourceError(
                f"the manifest has a {expected.algorithm} of {quoted(member.name)}, which was hashed before the "
                f"manifest came, by {', '.join(BEFORE_MANIFEST)}",
                code="E_PIPE_ORDER",
                hint=SAVE_FIRST,
            )
        check.expected = expected
        return check


class MemberHasher:
    """Feeds several digests of one member."""

    def __init__(self, checks: tuple[DigestCheck, ...]) -> None:
        self._checks = checks

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Take the next bytes."""
        for check in self._checks:
            check.update(data)

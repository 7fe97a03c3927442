"""From a signer's certificate up to one that is trusted (RFC 5280 6), for signatures of software.

The library's own path building is for TLS, where a name of a host is asked for. Here nothing is asked of names; instead
each authority on the way must be one, be valid, have a key that is strong enough, and say nothing that is not
understood. Revocation is not looked up: that would mean a connection to wherever a package says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from virt_ova.package.certificate import Certificate
from virt_ova.text import quoted

MAX_AUTHORITIES: Final = 8
"""Between a signer and nobody above."""
MAX_CHECKS: Final = 100
"""Signatures of certificates that are looked at; names that are all alike would give endless ways."""
WEAK_HASHES: Final = frozenset({"MD2", "MD4", "MD5", "SHA1"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Chain:
    """What came of the search.

    Attributes:
        anchor: the trusted certificate at the end; None when there is no way to one.
        fault: why a way that there seemed to be does not count; empty when there was none.
    """

    anchor: Certificate | None
    fault: str = ""


def find_chain(
    signer: Certificate, others: Sequence[Certificate], anchors: Sequence[Certificate], *, at: datetime
) -> Chain:
    """A way from `signer` to one of `anchors`, which may be the signer itself.

    Args:
        signer: whose own validity and key the caller looks at.
        others: authorities that may stand between; nothing is known of them.
        anchors: certificates that are trusted.
        at: the time for which it must count.
    """
    if signer in anchors:
        return Chain(anchor=signer)
    search = _Search(others, anchors, at)
    anchor = search.climb((signer,))
    return Chain(anchor=anchor, fault="" if anchor else search.fault)


class _Search:
    """Depth first, from the signer upward. The first fault that was met is kept for the message."""

    def __init__(self, others: Sequence[Certificate], anchors: Sequence[Certificate], at: datetime) -> None:
        self._others, self._anchors, self._at = others, anchors, at
        self._checks = 0
        self.fault = ""

    def climb(self, path: tuple[Certificate, ...]) -> Certificate | None:
        """The anchor above the last of `path`, if there is one."""
        for issuer in self._issuers(self._anchors, path):
            return issuer
        for issuer in self._issuers(self._others, path):
            if len(path) > MAX_AUTHORITIES:
                self._note(f"there are more than {MAX_AUTHORITIES} authorities above the signer")
            elif anchor := self.climb((*path, issuer)):
                return anchor
        return None

    def _issuers(self, candidates: Sequence[Certificate], path: tuple[Certificate, ...]) -> Iterator[Certificate]:
        """Those of `candidates` that issued the last of `path`, and may have."""
        child = path[-1]
        for candidate in candidates:
            if candidate in path or not candidate.is_named_as_issuer_of(child):
                continue
            if child.hash_name in WEAK_HASHES:
                self._note(f"the certificate of {quoted(child.subject)} is signed with {child.hash_name}")
                continue
            self._checks += 1
            if self._checks > MAX_CHECKS:
                self._note(f"more than {MAX_CHECKS} certificates would have to be tried")
                return
            if not candidate.has_issued(child):
                continue
            if fault := self._fault_of(candidate, path):
                self._note(f"the certificate of its authority {quoted(candidate.subject)} {fault}")
                continue
            yield candidate

    def _fault_of(self, issuer: Certificate, below: Sequence[Certificate]) -> str:
        """The first rule that `issuer` breaks as an authority over `below`, or nothing."""
        between = sum(not each.is_self_issued for each in below[1:])
        rules = (
            (not issuer.is_authority, "does not let it issue others"),
            (self._at < issuer.not_before, f"is not valid before {day(issuer.not_before)}"),
            (self._at > issuer.not_after, f"expired on {day(issuer.not_after)}"),
            (bool(issuer.weak_key), f"has {issuer.weak_key}"),
            (not issuer.may_sign_code, "is not for signing software"),
            (
                issuer.path_length is not None and between > issuer.path_length,
                f"allows {issuer.path_length} authorities below it, found {between}",
            ),
            (bool(issuer.not_understood), f"has an extension that is not understood: {issuer.not_understood}"),
        )
        return next((fault for is_broken, fault in rules if is_broken), "")

    def _note(self, fault: str) -> None:
        self.fault = self.fault or fault


def day(time: datetime) -> str:
    """A time as people read it."""
    return f"{time:%Y-%m-%d}"

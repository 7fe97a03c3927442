"""What a hypervisor is that makes machines out of packages by itself.

ESXi and vCenter read the descriptor, decide on the hardware, and take the package's disks as they are. So an `Importer`
is not asked for volumes and domains, as a `virt_ova.target.base.Target` is, but given a descriptor and then the bytes
that it asks for. Of a package it sees these two, never a tar.

The order of calls: ``prepare`` for each request, which makes nothing; ``begin`` for each offer; ``wait`` for what was
begun; ``open_volume`` for each file of the offer, whose sink is written and finished; ``receipts``; ``complete``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from virt_ova.findings import Finding
from virt_ova.interrupt import Held
from virt_ova.plan.host import HostCapabilities
from virt_ova.plan.machine import Connection
from virt_ova.target.base import Domain, Volume


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportRequest:
    """One machine, or one group of machines, to be made.

    Attributes:
        descriptor: the OVF as the hypervisor is to read it.
        name: of the machine or group.
        deployment_option: id of the configuration; empty for the package's default.
        networks: package network name to connection.
        properties: values by full key, for a hypervisor that tells its guests of them; not in the repr, because there
            can be passwords among them.
        secrets: those of the values that nobody may be shown, whoever repeats them.
        environment: the OVF environment document, for one that does not; empty when there is nothing to tell.
        algorithm: by what the hypervisor is to hash the files that it receives, if it can, ``SHA1`` or ``SHA256``;
            empty when nobody wants to know.
    """

    descriptor: str = field(repr=False)
    name: str
    deployment_option: str = ""
    networks: Mapping[str, Connection] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    environment: str = field(default="", repr=False)
    algorithm: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class WantedFile:
    """A file of the package that the hypervisor asks for.

    Attributes:
        key: the hypervisor's word for where it goes.
        href: as References have it.
        is_disk: whether it is read as a stream-optimized VMDK; anything else is stored byte for byte.
    """

    key: str
    href: str
    is_disk: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """What the hypervisor says of a file that it received.

    Attributes:
        key: of the `WantedFile`.
        algorithm: ``SHA1`` or ``SHA256``.
        hex: the digest, in lower-case hexadecimal.
        size_bytes: how long it is.
    """

    key: str
    algorithm: str
    hex: str
    size_bytes: int


class Offer(Protocol):
    """What the hypervisor makes of a request."""

    @property
    def what(self) -> str:
        """What will be made, for people: ``machine web``."""

    @property
    def files(self) -> Sequence[WantedFile]:
        """What it asks for."""

    @property
    def findings(self) -> Sequence[Finding]:
        """What it remarks."""


class Import(Protocol):
    """A machine that is being made."""

    def wait(self, held: Held) -> None:
        """Wait until it takes files; meanwhile a stop signal may end the wait. Raises `TargetError`."""

    def open_volume(self, file: WantedFile, size_bytes: int) -> Volume:
        """Where `file` goes, in `size_bytes`; its sink takes them in order. Raises `TargetError`."""

    def receipts(self) -> Sequence[Receipt]:
        """What the hypervisor says of the files that came; empty when it says nothing. Raises `TargetError`."""

    def complete(self) -> Domain:
        """All files are there: the machine. Raises `TargetError`."""

    def discard(self) -> None:
        """Break it off and remove the machine, whatever state it is in. Raises `TargetError` when it stays."""


@runtime_checkable
class Importer(Protocol):
    """An open connection to such a hypervisor."""

    @property
    def uri(self) -> str:
        """Its connection URI, without secrets."""

    @property
    def opened_by(self) -> str:
        """What opens it again: its connection URI with all parameters, without secrets."""

    @property
    def findings(self) -> Sequence[Finding]:
        """What was chosen so far that the user may not expect, such as a datastore."""

    @property
    def capabilities(self) -> HostCapabilities:
        """What the host offers; asked once."""

    def prepare(self, request: ImportRequest) -> Offer:
        """Let the hypervisor read the descriptor; makes nothing.

        Raises:
            TargetError: it refuses (``E_IMPORT_SPEC``); a network is missing (``E_NETWORK``); a name is taken
                (``E_EXISTS``).
        """

    def begin(self, offer: Offer) -> Import:
        """Begin to make the machine of an offer that `prepare` returned. Raises `TargetError`; nothing is left then."""

    def close(self) -> None:
        """Release the connection."""


class Ask(Protocol):
    """Asks a person, for a driver that has to log in."""

    def __call__(self, prompt: str, *, is_secret: bool) -> str:
        """What was answered; a secret is not shown while it is typed. Empty when there is no answer."""


@runtime_checkable
class AskingDriver(Protocol):
    """What a `virt_ova.target.base.Driver` has besides when it may have to ask who logs in."""

    def open_asking(self, uri: str, *, pool: str | None, ask: Ask | None) -> Importer:
        """Connect, as `Driver.open`; `ask` is None when there is nobody to ask."""

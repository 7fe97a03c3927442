"""Domains: defined without replacing one, started, watched, removed by UUID."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import libvirt

from virt_ova.errors import TargetError
from virt_ova.target.base import BootReport
from virt_ova.target.boot import BootState, BootWatch
from virt_ova.target.libvirt.errors import absent_is_fine, translated
from virt_ova.target.libvirt.lifeline import Lifeline
from virt_ova.text import quoted

_POLL_SECONDS: Final = 0.1
_GRACE_SECONDS: Final = 15
"""How long after a login prompt a lease is waited for, and after a lease a login prompt."""

_RECV_BYTES: Final = 65536
_NOTHING_YET: Final = -2
"""What ``virStreamRecv`` returns when it would have to wait."""

_UNDEFINE: Final = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
    | libvirt.VIR_DOMAIN_UNDEFINE_TPM
)
_UNDEFINE_FALLBACKS: Final = (_UNDEFINE, libvirt.VIR_DOMAIN_UNDEFINE_NVRAM, 0)
"""Flags to undefine with, the next where a daemon or driver does not know the last."""


class LibvirtDomain:
    """A domain that was defined by us."""

    def __init__(self, domain: Any, *, lifeline: Lifeline, has_lease: bool) -> None:  # noqa: ANN401 - libvirt has no types
        """Own `domain`; `has_lease` says whether it may get an address from one of libvirt's networks."""
        self._domain, self._lifeline, self._has_lease = domain, lifeline, has_lease
        self._name, self._uuid = str(domain.name()), str(domain.UUIDString())

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def uuid(self) -> str:
        """Its UUID."""
        return self._uuid

    @property
    def start_command(self) -> str:
        """That of virsh."""
        return f"virsh -c {shlex.quote(self._lifeline.uri)} start {shlex.quote(self._name)}"

    def start(self) -> None:
        """Start it. Raises `TargetError` (``E_START``, ``E_NETWORK``, ``E_NOT_SUPPORTED``)."""
        self._start(0)

    def watch(self, seconds: float) -> BootReport:
        """Start it and follow its console and its leases; see `virt_ova.target.base.Domain.watch`.

        It starts paused, so that not a byte of the console is missed.
        """
        watch = BootWatch()
        self._start(libvirt.VIR_DOMAIN_START_PAUSED)
        with self._console() as console:
            with translated(f"starting {quoted(self._name)}", otherwise="E_START"):
                self._domain.resume()
            while time.monotonic() < watch.begun + seconds and not self._is_decided(watch):
                is_active = self._observe(watch, console)
                if not is_active:
                    break
                time.sleep(_POLL_SECONDS)
        return watch.report()

    def discard(self) -> None:
        """Stop it and remove its definition with everything libvirt keeps for it; its volumes stay.

        Raises:
            TargetError: it stays.
        """
        by_hand = f"undefine --nvram {shlex.quote(self._uuid)}"
        self._lifeline.take_back(lambda: self._discard(self._domain), self._discard_anew, by_hand=by_hand)

    def _discard(self, domain: Any) -> None:  # noqa: ANN401 - libvirt has no types
        gone = (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID)
        with translated(f"stopping {quoted(self._name)}"), absent_is_fine(*gone):
            domain.destroy()
        with translated(f"removing {quoted(self._name)}"), absent_is_fine(libvirt.VIR_ERR_NO_DOMAIN):
            _undefine(domain)

    def _discard_anew(self, connection: Any) -> None:  # noqa: ANN401 - libvirt has no types
        """The same over another connection; the UUID is nobody else's."""
        found = None
        with translated(f"looking for {quoted(self._name)}"), absent_is_fine(libvirt.VIR_ERR_NO_DOMAIN):
            found = connection.lookupByUUIDString(self._uuid)
        if found is not None:
            self._discard(found)

    def _start(self, flags: int) -> None:
        with translated(f"starting {quoted(self._name)}", otherwise="E_START"):
            self._domain.createWithFlags(flags)

    def _observe(self, watch: BootWatch, console: Any) -> bool:  # noqa: ANN401 - libvirt has no types
        """Take in what is new; whether the domain still runs.

        The question for the state also moves the console's bytes from the socket into the stream, so no event loop is
        needed.
        """
        with translated(f"watching {quoted(self._name)}"):
            is_active = bool(self._domain.isActive())
            watch.feed(_received(console))
            if is_active and self._has_lease and (address := _leased_address(self._domain)):
                watch.saw_address(address)
        return is_active

    def _is_decided(self, watch: BootWatch) -> bool:
        """Whether nothing better is to be expected."""
        match watch.state:
            case BootState.PANIC:
                return True
            case BootState.LOGIN | BootState.NETWORK:
                return not self._has_lease or watch.saw_both or time.monotonic() > watch.reached + _GRACE_SECONDS
            case _:
                return False

    @contextmanager
    def _console(self) -> Iterator[Any]:
        """The stream of the first console, or None when the domain has none or the driver shows none."""
        stream: Any = None
        with (
            translated(f"opening the console of {quoted(self._name)}"),
            absent_is_fine(libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_ERR_NO_SUPPORT),
        ):
            opened = self._domain.connect().newStream(libvirt.VIR_STREAM_NONBLOCK)
            self._domain.openConsole(None, opened, 0)
            stream = opened
        try:
            yield stream
        finally:
            if stream is not None:
                _release(stream)


def define(
    connection: Any,  # noqa: ANN401 - libvirt has no types
    domain_xml: str,
    name: str,
    *,
    lifeline: Lifeline,
    has_lease: bool,
) -> LibvirtDomain:
    """Define a domain whose UUID is new, so that libvirt refuses a name that is taken.

    Raises:
        TargetError: the name is taken (``E_EXISTS``), or libvirt refuses the definition.
    """
    if domain_exists(connection, name):
        raise name_taken(name)
    try:
        with translated(f"defining {quoted(name)}"):
            domain = connection.defineXMLFlags(domain_xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    except TargetError as exc:
        if domain_exists(connection, name):
            raise name_taken(name) from exc
        raise
    return LibvirtDomain(domain, lifeline=lifeline, has_lease=has_lease)


def domain_exists(connection: Any, name: str) -> bool:  # noqa: ANN401 - libvirt has no types
    """Whether a domain has that name. Raises `TargetError`."""
    with translated(f"looking for the domain {quoted(name)}"), absent_is_fine(libvirt.VIR_ERR_NO_DOMAIN):
        connection.lookupByName(name)
        return True
    return False


def name_taken(name: str) -> TargetError:
    """The error for a domain's name that is taken."""
    return TargetError(
        f"a domain {quoted(name)} exists already",
        code="E_EXISTS",
        hint="Choose another name for the machine with --name.",
    )


def _undefine(domain: Any) -> None:  # noqa: ANN401 - libvirt has no types
    """Undefine with as many flags as the driver knows."""
    unknown = (libvirt.VIR_ERR_INVALID_ARG, libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED, libvirt.VIR_ERR_NO_SUPPORT)
    for flags in _UNDEFINE_FALLBACKS[:-1]:
        with absent_is_fine(*unknown):
            domain.undefineFlags(flags)
            return
    domain.undefineFlags(_UNDEFINE_FALLBACKS[-1])


def _received(console: Any) -> bytes:  # noqa: ANN401 - libvirt has no types
    """What has arrived from the console."""
    received = bytearray()
    while console is not None:
        chunk = console.recv(_RECV_BYTES)
        if chunk == _NOTHING_YET or not chunk:
            break
        received += chunk
    return bytes(received)


def _leased_address(domain: Any) -> str:  # noqa: ANN401 - libvirt has no types
    """The first address that a network of libvirt leased to the domain; empty when none did."""
    with absent_is_fine(libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_OPERATION_INVALID):
        interfaces = domain.interfaceAddresses(libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE, 0)
        for interface in interfaces.values():
            for address in interface["addrs"] or ():
                return str(address["addr"])
    return ""


def _release(stream: Any) -> None:  # noqa: ANN401 - libvirt has no types
    """Give the console back; a stream that the domain's end has closed is fine."""
    with suppress(libvirt.libvirtError):
        stream.abort()

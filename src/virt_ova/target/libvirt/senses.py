"""What libvirt lets us see and hear of a running domain."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import libvirt

from virt_ova.target.boot.picture import MAX_BYTES
from virt_ova.target.boot.vga import MEMORY_ADDRESS, MEMORY_BYTES
from virt_ova.target.boot.watch import AgentReply, is_of_network
from virt_ova.target.libvirt.errors import absent_is_fine, translated
from virt_ova.text import quoted

_RECV_BYTES: Final = 65536
_NOTHING_YET: Final = -2
"""What ``virStreamRecv`` returns when it would have to wait."""

_AGENT_SECONDS: Final = 5

_NOT_TO_BE_HAD: Final = (
    libvirt.VIR_ERR_NO_SUPPORT,
    libvirt.VIR_ERR_OPERATION_INVALID,
    libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
    libvirt.VIR_ERR_OPERATION_FAILED,
    libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
    libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,
    libvirt.VIR_ERR_INVALID_ARG,
    libvirt.VIR_ERR_INTERNAL_ERROR,
    libvirt.VIR_ERR_SYSTEM_ERROR,
    libvirt.VIR_ERR_AGENT_UNRESPONSIVE,
    libvirt.VIR_ERR_AGENT_UNSYNCED,
)
"""Why a sense may be missing: the driver has none, the domain has no screen or agent, or it has just ended."""


class DomainSenses:
    """See `virt_ova.target.boot.observer.Senses`."""

    def __init__(self, domain: Any, console: Any, *, may_lease: bool) -> None:  # noqa: ANN401 - libvirt has no types
        """Those of `domain`, whose `console` is a stream, or None; use `senses_of`."""
        self._domain, self._console = domain, console
        self.may_lease = may_lease
        self._former = frozenset(addresses(domain, libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP))

    def is_running(self) -> bool:
        """The question also moves the console's bytes from the socket into the stream: no event loop is needed."""
        with translated(f"watching {quoted(str(self._domain.name()))}"):
            return bool(self._domain.isActive())

    def console(self) -> bytes:
        """What has arrived from the console."""
        received = bytearray()
        with translated("reading a console"):
            while self._console is not None:
                chunk = self._console.recv(_RECV_BYTES)
                if chunk == _NOTHING_YET or not chunk:
                    break
                received += chunk
        return bytes(received)

    def address(self) -> str:
        """The first address that a network of libvirt leased to the domain, or by which its host has come to know it.

        What the host knew when the machine was not running yet, it has from another life of the same MAC address.
        """
        if not self.may_lease:
            return ""
        leased = addresses(self._domain, libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE)
        met = addresses(self._domain, libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP)
        return next(iter((*leased, *(each for each in met if each not in self._former))), "")

    def agent(self) -> AgentReply | None:
        """What the guest agent says of its system."""
        with translated("asking the guest agent"), absent_is_fine(*_NOT_TO_BE_HAD):
            told = self._domain.guestInfo(libvirt.VIR_DOMAIN_GUEST_INFO_OS, 0)
            found = addresses(self._domain, libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT)
            return AgentReply(system=str(told.get("os.pretty-name") or told.get("os.name", "")), addresses=found)
        return None

    def screenshot(self) -> bytes:
        """The first screen, in libvirt's choice of a format."""
        shot = bytearray()
        with translated("taking a screenshot"), absent_is_fine(*_NOT_TO_BE_HAD):
            stream = self._domain.connect().newStream(0)
            self._domain.screenshot(stream, 0, 0)
            while len(shot) <= MAX_BYTES and (chunk := stream.recv(_RECV_BYTES)):
                shot += chunk
            _release(stream)
        return bytes(shot)

    def text_memory(self) -> bytes:
        """Of the emulated VGA."""
        with translated("reading the screen"), absent_is_fine(*_NOT_TO_BE_HAD):
            return bytes(self._domain.memoryPeek(MEMORY_ADDRESS, MEMORY_BYTES, libvirt.VIR_MEMORY_PHYSICAL))
        return b""


@contextmanager
def senses_of(domain: Any, *, may_lease: bool) -> Iterator[DomainSenses]:  # noqa: ANN401 - libvirt has no types
    """Those of `domain`, which runs, perhaps paused; meanwhile nobody waits for its agent for ever."""
    with _console_of(domain) as console:
        _set_agent_timeout(domain, _AGENT_SECONDS)
        try:
            yield DomainSenses(domain, console, may_lease=may_lease)
        finally:
            _set_agent_timeout(domain, libvirt.VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK)


def _set_agent_timeout(domain: Any, seconds: int) -> None:  # noqa: ANN401 - libvirt has no types
    """Where libvirt is too old for that, or the domain has ended, nothing."""
    with suppress(libvirt.libvirtError):
        domain.agentSetResponseTimeout(seconds, 0)


@contextmanager
def _console_of(domain: Any) -> Iterator[Any]:  # noqa: ANN401 - libvirt has no types
    """The stream of the first console, or None when the domain has none or the driver shows none."""
    stream: Any = None
    with (
        translated(f"opening the console of {quoted(str(domain.name()))}"),
        absent_is_fine(libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_ERR_NO_SUPPORT),
    ):
        opened = domain.connect().newStream(libvirt.VIR_STREAM_NONBLOCK)
        domain.openConsole(None, opened, 0)
        stream = opened
    try:
        yield stream
    finally:
        if stream is not None:
            _release(stream)


def addresses(domain: Any, source: int) -> tuple[str, ...]:  # noqa: ANN401 - libvirt has no types
    """The domain's addresses as `source` has them (``VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_...``), IPv4 first."""
    found: list[tuple[int, str]] = []
    with translated("asking for addresses"), absent_is_fine(*_NOT_TO_BE_HAD):
        for interface in domain.interfaceAddresses(source, 0).values():
            found += [(each["type"], str(each["addr"])) for each in interface["addrs"] or ()]
    return tuple(address for _, address in sorted(found) if is_of_network(address))


def _release(stream: Any) -> None:  # noqa: ANN401 - libvirt has no types
    """Give a stream back; one that the domain's end has closed is fine."""
    with suppress(libvirt.libvirtError):
        stream.abort()

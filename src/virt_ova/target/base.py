"""What a hypervisor driver is.

A driver is found by the scheme of a connection URI (entry point group ``virt_ova.targets``) and opens a `Target`. A
target sees plans and takes image bytes; it never sees a tar or OVF. Drivers do not know each other; `dir:` is the
reference, and `tests/contract` holds for all of them.

The order of calls is always ``check``, ``create_network`` where networks are asked for, ``create_volume`` for each
transfer, write to its sink, ``define`` for each machine, ``start``. Whatever a call makes, it makes under a name that
cannot replace another thing, and its handle knows how to ``discard`` exactly that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, runtime_checkable

from virt_ova.disk.base import Sink
from virt_ova.findings import Finding
from virt_ova.plan.host import HostCapabilities
from virt_ova.plan.inputs import Backing
from virt_ova.plan.machine import Connection, Machine
from virt_ova.plan.plan import InstallPlan, Transfer


class Volume(Protocol):
    """A disk image being made on the target, empty until its sink is written."""

    @property
    def name(self) -> str:
        """Its name on the target."""

    @property
    def path(self) -> str:
        """Where a machine on the target finds it."""

    @property
    def pool(self) -> str:
        """Storage pool; empty where the target has none."""

    @property
    def sink(self) -> Sink:
        """Takes the image's bytes."""

    def discard(self) -> None:
        """Remove it, whatever state it is in. Raises `TargetError` when it stays."""


class Domain(Protocol):
    """A machine that was defined."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def uuid(self) -> str:
        """Its UUID on the target, or empty."""

    @property
    def start_command(self) -> str:
        """What a person types in a shell to start it, quoted where needed; empty when there is no such command."""

    def start(self) -> None:
        """Start it. Raises `TargetError`."""

    def watch(self, seconds: float) -> BootReport:
        """Start it and watch it come up, for `seconds` at most. Raises `TargetError` when it cannot be started."""

    def discard(self) -> None:
        """Stop it if it runs, and remove its definition; its volumes stay. Raises `TargetError` when it stays."""


class ScreenState(StrEnum):
    """What a screen does; what fits into a cursor is neither content nor change."""

    BLANK = "blank"
    STILL = "still"
    CHANGING = "changing"


@dataclass(frozen=True, kw_only=True, slots=True)
class Screen:
    """What a machine's screen showed last.

    Attributes:
        state: what it did.
        width: in pixels.
        height: in pixels.
        color: that more than half of it has (``#0078d7``); empty when none has.
        png: the picture as a PNG file.
    """

    state: ScreenState
    width: int
    height: int
    color: str = ""
    png: bytes = field(default=b"", repr=False)


class DiskState(StrEnum):
    """What a machine that starts found of its disk."""

    UNKNOWN = "unknown"
    FOUND = "found"
    LOST = "lost"
    EMPTY = "empty"


@dataclass(frozen=True, kw_only=True, slots=True)
class BootReport:
    """What was seen of a started machine. All text is escaped.

    Attributes:
        machine: its name.
        state: the furthest state reached (``no-output``, ``firmware``, ``bootloader``, ``kernel``, ``panic``,
            ``login``, ``agent``, ``network``).
        seconds: how long it took to reach it.
        evidence: what was seen: the last lines of the console, or what the screen shows; the agent's word; the address.
        address: what the machine was given, or its agent tells; empty when nothing is known.
        disk: whether it found its disk.
        disk_sign: the line that tells so; empty when no single line does.
        screen: None where there is none.
    """

    machine: str = ""
    state: str
    seconds: float
    evidence: str
    address: str = ""
    disk: DiskState = DiskState.UNKNOWN
    disk_sign: str = ""
    screen: Screen | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Reach:
    """How a person gets to a started machine; what is not to be had is empty.

    Attributes:
        addresses: of its network interfaces, as far as they are known.
        ssh: what to type in a shell to log in, where this host has a way to the machine.
        console: what to type for the serial console.
        screen: what to type for the screen.
        vnc: address and port of the screen's VNC server on the target, or the path of its Unix socket.
        monitor: what to type for QEMU's monitor.
    """

    addresses: tuple[str, ...] = ()
    ssh: str = ""
    console: str = ""
    screen: str = ""
    vnc: str = ""
    monitor: str = ""


@runtime_checkable
class Reachable(Protocol):
    """What a domain has besides when a person can get to its machine."""

    def reach(self) -> Reach:
        """How to get to the machine, which runs. Nothing is raised: what cannot be told is empty."""


class Trial(Protocol):
    """A machine that was defined to see whether it boots; what it writes to its images is not kept."""

    def watch_disk(self, seconds: float) -> BootReport:
        """Start it and watch it until it is clear whether it finds its disk, for `seconds` at most.

        Raises:
            TargetError: it cannot be started.
        """

    def discard(self) -> None:
        """Stop it and remove all of it, its writes as well; its images are as before. Raises `TargetError`."""


class Target(Protocol):
    """An open connection to a hypervisor or folder."""

    @property
    def uri(self) -> str:
        """Its connection URI, without secrets."""

    @property
    def findings(self) -> Sequence[Finding]:
        """What was done so far that the user may not expect, such as a storage pool that was made."""

    @property
    def capabilities(self) -> HostCapabilities:
        """What the host offers; asked once."""

    def check(self, plan: InstallPlan, sizes: Mapping[str, int]) -> None:
        """Refuse what cannot work, before the first byte is written.

        Args:
            plan: what is to be made.
            sizes: bytes that each transfer's image will need, by transfer id.

        Raises:
            PlanError: the target does not have the hardware (``E_PLAN_HARDWARE``).
            TargetError: a name or MAC address is taken (``E_EXISTS``, ``E_MAC``), a network or pool is missing
                (``E_NETWORK``, ``E_POOL``).
            SpaceError: not enough room (``E_SPACE``).
        """

    def create_volume(self, transfer: Transfer, size_bytes: int) -> Volume:
        """Make an empty image of at most `size_bytes` for `transfer`. Raises `TargetError`, `SpaceError`."""

    def define(self, machine: Machine, volumes: Mapping[str, Volume], *, uuid: str = "") -> Domain:
        """Define `machine`.

        Args:
            machine: what to define.
            volumes: its images, by transfer id; all of this target.
            uuid: its UUID, when the caller has noted it already; a new one when empty. Never one from a package.

        Raises:
            TargetError: it cannot be defined; nothing is left of it then.
        """

    def close(self) -> None:
        """Release the connection."""


@runtime_checkable
class Linker(Protocol):
    """What a target has besides when its machines can read a package where it lies on this host."""

    def check_link(self, backing: Backing) -> None:
        """Refuse what cannot work, before anything is made.

        Raises:
            TargetError: its machines cannot read the package there, or not its format (``E_DISK_LINK``).
        """

    def create_linked(self, transfer: Transfer, size_bytes: int, backing: Backing) -> Volume:
        """Make an empty image as `Target.create_volume` does; what will be written to it lies on `backing`."""


class Network(Protocol):
    """A network that was made."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def uuid(self) -> str:
        """Its UUID on the target, or empty."""

    def discard(self) -> None:
        """Stop and remove it. Raises `TargetError` when it stays."""


@runtime_checkable
class NetworkMaker(Protocol):
    """What a target has besides when networks can be made on its host."""

    def create_network(self, connection: Connection, *, uuid: str = "") -> Network:
        """Make and start a network.

        Args:
            connection: its kind, private or shared, and its name.
            uuid: its UUID, when the caller has noted it already; a new one when empty.

        Raises:
            TargetError: the name is taken (``E_EXISTS``), or it cannot be made; nothing is left of it then.
        """


@runtime_checkable
class HostExpander(Protocol):
    """What a target has besides when its host can expand a disk by itself."""

    def create_host_expanded(self, transfer: Transfer, size_bytes: int) -> Volume:
        """Make an image as `Target.create_volume` does, whose sink takes the package's disk as it is.

        The host expands it when the sink is finished.
        """


@runtime_checkable
class Trier(Protocol):
    """What a target has besides when it can run a machine without changing its images."""

    def define_trial(self, machine: Machine, volumes: Mapping[str, Volume]) -> Trial:
        """As `Target.define`, but to be tried and discarded before the real one is defined."""


@runtime_checkable
class FileKeeper(Protocol):
    """What a target has besides when programs on this host may be able to open its images."""

    @property
    def keeps_files_here(self) -> bool:
        """Whether `Volume.path` is a file on this host."""


class Driver(Protocol):
    """Opens targets of some URI schemes; what an entry point names."""

    name: str
    """Word for people (``libvirt``)."""

    summary: str
    """One line: what it installs on."""

    example: str
    """A connection URI."""

    def missing(self) -> str:
        """Why it cannot be used here, as one sentence with what to do; empty when it can."""

    def open(self, uri: str, *, pool: str | None = None) -> Target:
        """Connect.

        Args:
            uri: a connection URI of one of its schemes.
            pool: storage pool to use; the target's default when None.

        Raises:
            TargetError: the connection or the pool is refused (``E_CONNECT``, ``E_POOL``).
        """

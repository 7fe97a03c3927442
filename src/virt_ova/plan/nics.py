"""Network interfaces of a machine.

The model is kept where QEMU has the same chip. libvirt passes any word on and QEMU refuses it only at start, so what is
not known here is never passed on. MAC addresses are taken from a package only when the user says so: two machines made
from it would clash.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from virt_ova.errors import PlanError
from virt_ova.findings import Severity
from virt_ova.ovf.envelope import Envelope, Item
from virt_ova.ovf.hardware import nics
from virt_ova.plan.circumstances import Circumstances
from virt_ova.plan.guest import Support
from virt_ova.plan.host import HostCapabilities
from virt_ova.plan.ledger import Ledger, label
from virt_ova.plan.machine import Connection, ConnectionKind, Nic
from virt_ova.plan.macs import kept_mac
from virt_ova.plan.naming import machine_name, unique_name
from virt_ova.plan.options import InstallOptions, MachineStyle
from virt_ova.plan.plan import InstallPlan
from virt_ova.text import printable, quoted

_SAME_CHIP = {
    "pcnet32": "pcnet",
    "pcnet": "pcnet",
    "vlance": "pcnet",
    "e1000": "e1000-82545em",
    "82545em": "e1000-82545em",
    "82540em": "e1000",
    "e1000e": "e1000e",
    "vmxnet3": "vmxnet3",
    "virtio": "virtio",
    "virtionet": "virtio",
    "virtio-net": "virtio",
    "rtl8139": "rtl8139",
}
"""Subtypes that QEMU has as the same chip. VMware's E1000 is an 82545EM; VirtualBox's is an 82540EM by default."""

_VIRTUALBOX_CHIP = {"e1000": "e1000"}

_OTHER_CHIP = {
    "flexible": ("pcnet", "without VMware's driver in the guest a flexible adapter is a PCnet"),
    "vmxnet": ("e1000-82545em", "QEMU has no vmxnet before version 3"),
    "vmxnet2": ("e1000-82545em", "QEMU has no vmxnet before version 3"),
    "sriov": ("e1000-82545em", "a host's network card cannot be passed through by a package: it is emulated"),
    "sriovethernetcard": (
        "e1000-82545em",
        "a host's network card cannot be passed through by a package: it is emulated",
    ),
    "e10000": ("e1000-82545em", "'E10000' is taken as a misspelt E1000"),
}
_SUBSTITUTES = ("e1000-82545em", "e1000", "e1000e", "virtio")
MADE = frozenset({ConnectionKind.PRIVATE, ConnectionKind.SHARED})
"""Kinds of connection whose network the install makes."""

NETWORKS = MADE | {ConnectionKind.NETWORK}
"""Kinds of connection whose name is that of a network on the target."""

_NAMED = NETWORKS | {ConnectionKind.BRIDGE}
"""Kinds of connection that have a name."""

MODELS = frozenset({*_SAME_CHIP.values(), *_SUBSTITUTES})
"""All that a machine can have."""

_CONNECTION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+:@-]{0,127}")
_LONGEST_NAME = 128
_DEVICES = {"virtio": "virtio-net-pci"}
"""QEMU's names where libvirt's model differs."""

_SLOT = "slotInfo.pciSlotNumber"
_SLOT_DIGITS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class _Choice:
    model: str
    change: str = ""


def plan_nics(
    items: Iterable[Item],
    system_types: Sequence[str],
    networks: Mapping[str, Connection],
    around: Circumstances,
    ledger: Ledger,
) -> tuple[Nic, ...]:
    """The network interfaces among `items`, in order, plugged into `networks` by the package's name, else the default.

    Raises:
        PlanError: the host has no such model (``E_OPTION``), or an address to be kept is no host's (``E_MAC``).
    """
    same_chip = _SAME_CHIP
    if any(word.lower().startswith("virtualbox") for word in system_types):
        same_chip = _SAME_CHIP | _VIRTUALBOX_CHIP
    host, options = around.host, around.options
    wanted = _wanted_model(host, options)
    planned = []
    for item in nics(items):
        network = next(iter(item.connections), "")
        connection = networks.get(network)
        if connection is None:
            connection = host.default_connection
            ledger.note(
                "NETWORK_DEFAULT",
                Severity.INFO,
                f"network {quoted(network)} is not named by an option and goes to {describe(connection)}",
                item.where,
            )
        choice = _choose(item, same_chip, around)
        if wanted and choice.model != wanted.model:
            choice = wanted
        result = f"{choice.model} on {describe(connection)}"
        if choice.change:
            ledger.mapped(item, result, choice.change)
        else:
            ledger.kept(item, result)
        _note_old_name(item, ledger)
        mac = kept_mac(item, ledger) if options.keep_mac else ""
        planned.append(Nic(model=choice.model, network=network, connection=connection, mac=mac))
    return tuple(planned)


def nic_origins(items: Iterable[Item]) -> dict[str, str]:
    """InstanceID of each interface's item, by ``net0``, ``net1``, ..."""
    return {f"net{number}": item.instance_id for number, item in enumerate(nics(items))}


def named_networks(networks: Mapping[str, Connection], *, base: str) -> Mapping[str, Connection]:
    """`networks` with names for those that are to be made and have none: `base` and the package's name for it.

    Two of the package's never become one by that.

    Raises:
        PlanError: a name was given to two kinds of network (``E_NETWORK``).
    """
    kinds: dict[str, ConnectionKind] = {}
    for connection in networks.values():
        if connection.name and connection.kind in NETWORKS:
            kind = kinds.setdefault(connection.name, connection.kind)
            if kind is not connection.kind:
                both = f"a {kind} and a {connection.kind} network"
                raise PlanError(f"{quoted(connection.name)} is to be {both}, expected one of them", code="E_NETWORK")
    named = {}
    for name, connection in networks.items():
        named[name] = connection
        if connection.kind in MADE and not connection.name:
            named[name] = replace(connection, name=unique_name(machine_name(f"{base}-{name}"), kinds))
            kinds[named[name].name] = connection.kind
    return named


def made_networks(plan: InstallPlan) -> tuple[Connection, ...]:
    """The networks that an install by `plan` makes, each once."""
    connections = (nic.connection for machine in plan.machines for nic in machine.nics)
    return tuple(dict.fromkeys(each for each in connections if each.kind in MADE))


def check_networks(envelope: Envelope, items: Iterable[Item], networks: Mapping[str, Connection]) -> None:
    """Refuse options for networks that the package has not, and connections that cannot be.

    Raises:
        PlanError: there is one (``E_NETWORK``).
    """
    stated = (each for each in networks.values() if each.name or each.kind not in MADE)
    if problem := next(filter(None, map(connection_problem, stated)), ""):
        raise PlanError(problem, code="E_NETWORK")
    known = dict.fromkeys([network.name for network in envelope.networks])
    known |= dict.fromkeys(name for item in nics(items) for name in item.connections)
    for name in networks:
        if name not in known:
            there = ", ".join(quoted(each) for each in known) or "none"
            raise PlanError(
                f"the package has no network {quoted(name)}, it has: {there}",
                code="E_NETWORK",
                hint="Name one of them, as --network 'OVF NAME=TARGET'.",
            )


def connection_problem(connection: Connection) -> str:
    """Why a network interface cannot be plugged into `connection`, as a sentence; empty when it can."""
    if connection.kind not in _NAMED:
        return f"{connection.kind} has no name, found {quoted(connection.name)}" if connection.name else ""
    if connection.kind is ConnectionKind.NETWORK:  # the target has it, or says so
        if 0 < len(connection.name) <= _LONGEST_NAME and printable(connection.name) == connection.name:
            return ""
        return (
            f"{quoted(connection.name)} cannot be the name of a network, "
            f"expected 1 to {_LONGEST_NAME} characters that can be shown"
        )
    if _CONNECTION_NAME.fullmatch(connection.name):
        return ""
    what = f"{connection.kind} network" if connection.kind in MADE else connection.kind
    return (
        f"{quoted(connection.name)} cannot be the name of a {what}, "
        "expected 1 to 128 of A-Z a-z 0-9 . _ + : @ - and blank, a letter or digit first"
    )


def describe(connection: Connection) -> str:
    """``network:default``, ``bridge:br0``, ``private:lan``, ``shared:wan``, ``user`` or ``none``: as ``--network``."""
    return f"{connection.kind}:{connection.name}" if connection.kind in _NAMED else connection.kind.value


def _wanted_model(host: HostCapabilities, options: InstallOptions) -> _Choice | None:
    """What the user wants all interfaces to be; None when each is what the package has."""
    model, option = options.nic_model, "--nic-model"
    if model is None and options.machine is MachineStyle.VIRTIO:
        model, option = "virtio", "--machine"
    if model is None:
        return None
    if model not in MODELS or not has_model(host, model):
        there = ", ".join(each for each in sorted(MODELS) if has_model(host, each))
        raise PlanError(f"a network interface cannot be {quoted(model)} here, expected one of {there}", code="E_OPTION")
    return _Choice(model=model, change=f"{option} asks for it")


def _note_old_name(item: Item, ledger: Ledger) -> None:
    """Say what a guest called the interface by its slot; a machine here has no slot of that number (see the docs)."""
    slot = item.config.get(_SLOT, "")
    if slot.isascii() and slot.isdecimal() and len(slot) <= _SLOT_DIGITS:
        message = f"a guest that names interfaces by their slots called it ens{int(slot)}, and calls it otherwise here"
        ledger.note("NIC_NAME", Severity.INFO, f"{label(item)}: {message}", item.where)


def _choose(item: Item, same_chip: Mapping[str, str], around: Circumstances) -> _Choice:
    """The first of the preference list that can be kept, else a substitute."""
    host, guest = around.host, around.guest
    for subtype in item.subtypes:
        model = same_chip.get(subtype)
        if model and has_model(host, model):
            return _Choice(model=model)
    for subtype in item.subtypes:
        if subtype in _OTHER_CHIP:
            model, change = _OTHER_CHIP[subtype]
            return _Choice(model=model if has_model(host, model) else _substitute(host), change=change)
    why = _why(item, same_chip)
    if Support.VIRTIO_NET in guest.supports and has_model(host, "virtio"):
        return _Choice(model="virtio", change=f"{why}; {guest} has the driver")
    return _Choice(model=_substitute(host), change=why)


def _why(item: Item, same_chip: Mapping[str, str]) -> str:
    if not item.subtypes:
        return "the package names no model"
    if missing := [same_chip[subtype] for subtype in item.subtypes if subtype in same_chip]:
        return f"the host's emulator has no {missing[0]}"
    return f"the model {quoted(item.subtypes[0])} is not known"


def has_model(host: HostCapabilities, model: str) -> bool:
    """Whether the emulator has interfaces of libvirt's `model`, as far as is known."""
    return host.has_device(_DEVICES.get(model, model))


def _substitute(host: HostCapabilities) -> str:
    return next((model for model in _SUBSTITUTES if has_model(host, model)), _SUBSTITUTES[-1])

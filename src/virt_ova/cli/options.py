"""Options that `plan`, `install` and `convert` share, and the values that they stand for."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterable
from typing import Final

from virt_ova.cli.parser import UsageError, add_locale, add_strict
from virt_ova.plan.controllers import DISK_BUSES
from virt_ova.plan.machine import Bus, Connection, ConnectionKind
from virt_ova.plan.nics import MODELS as NIC_MODELS
from virt_ova.plan.options import InstallOptions, MachineStyle
from virt_ova.plan.plan import CHOOSABLE_MODES, DiskMode, ImageFormat
from virt_ova.text import quoted

_NETWORK: Final = re.compile(
    r"(?P<network>.*)=(?P<kind>(?:network|bridge)(?=:.)|private|shared|(?:user|none)(?!:))(?::(?P<name>.*))?", re.DOTALL
)


def add_no_verify(parser: argparse.ArgumentParser) -> None:
    """Whether the manifest is checked."""
    parser.add_argument("--no-verify", action="store_true", help="check neither the manifest nor who signed it")


def add_image_options(parser: argparse.ArgumentParser, *, has_host: bool = True) -> None:
    """How a disk is placed; `has_host` says whether there may be a host to do it."""
    modes = "expand: a plain image (default); transplant: keep its blocks compressed; link: refer to the package"
    more = "; host-expand: send it as it is, and let libvirt's host expand it"
    parser.add_argument(
        "--disk-mode",
        choices=[mode for mode in CHOOSABLE_MODES if has_host or mode is not DiskMode.HOST_EXPAND],
        type=DiskMode,
        help=modes + more if has_host else modes,
    )
    parser.add_argument(
        "--format",
        dest="image_format",
        choices=list(ImageFormat),
        type=ImageFormat,
        help="format of the new image (default: qcow2)",
    )


def add_install_options(parser: argparse.ArgumentParser) -> None:
    """What `plan` and `install` share."""
    parser.add_argument("-c", "--connect", metavar="URI", help="where to install, as in virsh, or dir:PATH")
    parser.add_argument("--name", help="name of the machine (default: the package's own)")
    parser.add_argument("--pool", help="storage pool (default: the target's own)")
    add_image_options(parser)
    parser.add_argument(
        "--network",
        metavar="'OVF NAME=TARGET'",
        dest="networks",
        action="append",
        default=[],
        help="connect a network of the package: network:NAME, bridge:NAME, user, none, "
        "or a new one: private[:NAME], shared[:NAME]",
    )
    _add_hardware_options(parser)
    parser.add_argument("--deployment-option", metavar="ID", help="configuration to install")
    parser.add_argument(
        "--property",
        metavar="KEY=VALUE",
        dest="properties",
        action="append",
        default=[],
        help="value of a property of the package, but not of a password",
    )
    parser.add_argument("--property-file", metavar="FILE", help="values of properties, KEY=VALUE on each line")
    add_locale(parser)
    parser.add_argument(
        "--fix-hardware", action="store_true", help="on ESXi: send a descriptor without what ESXi is known to refuse"
    )
    add_strict(parser)
    parser.add_argument("--accept-eulas", action="store_true", help="accept the package's licences")
    parser.add_argument("--virt-type", choices=["kvm", "qemu"], help="default: the best that the host has")


def _add_hardware_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--machine",
        choices=list(MachineStyle),
        type=MachineStyle,
        help="auto: the package's hardware where it boots (default); faithful: its hardware wherever QEMU has it; "
        "virtio: virtio for disks and network",
    )
    parser.add_argument("--disk-bus", choices=DISK_BUSES, type=Bus, help="put every disk there")
    parser.add_argument(
        "--nic-model", choices=sorted(NIC_MODELS), metavar="MODEL", help="make every network interface this model"
    )
    parser.add_argument("--keep-mac", action="store_true", help="take the MAC addresses over from the package")


def default_uri() -> str:
    """The connection that virsh would use."""
    if uri := os.environ.get("LIBVIRT_DEFAULT_URI"):
        return uri
    return "qemu:///system" if os.geteuid() == 0 else "qemu:///session"


def install_options(args: argparse.Namespace) -> InstallOptions:
    """The options that `add_install_options` read. Raises `UsageError`."""
    return InstallOptions(
        name=args.name,
        pool=args.pool,
        disk_mode=args.disk_mode or DiskMode.EXPAND,
        image_format=args.image_format,
        networks=_networks(args.networks),
        deployment_option=args.deployment_option,
        accept_eulas=args.accept_eulas,
        machine=args.machine or MachineStyle.AUTO,
        disk_bus=args.disk_bus,
        nic_model=args.nic_model,
        keep_mac=args.keep_mac,
        virt_type=args.virt_type,
        strict=args.strict,
        fix_hardware=args.fix_hardware,
    )


def _networks(texts: Iterable[str]) -> dict[str, Connection]:
    networks: dict[str, Connection] = {}
    for name, connection in map(_network, texts):
        if name in networks:
            raise UsageError(f"--network: {quoted(name)} is there twice")
        networks[name] = connection
    return networks


def _network(text: str) -> tuple[str, Connection]:
    """``OVF NAME=TARGET``, where both may hold ``=``: what is behind the last one that looks like a target is one."""
    if not (found := _NETWORK.fullmatch(text)):
        raise UsageError(
            f"--network {quoted(text)}: expected 'OVF NAME=TARGET', "
            "where TARGET is network:NAME, bridge:NAME, user, none, private[:NAME] or shared[:NAME]"
        )
    return found["network"], Connection(kind=ConnectionKind(found["kind"]), name=found["name"] or "")

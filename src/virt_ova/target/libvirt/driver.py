"""The driver of libvirt's connection URIs. Importing this module does not import libvirt."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import cast

from virt_ova.interrupt import held_back
from virt_ova.target.base import Target


class LibvirtDriver:
    """Opens the URIs that virsh takes."""

    name = "libvirt"
    summary = "QEMU/KVM and Xen through libvirt, on this host or another"
    example = "qemu:///system"

    def missing(self) -> str:
        """Whether the Python module is there; that a daemon answers is seen by `open`."""
        if find_spec("libvirt") is None:
            return (
                "the Python module libvirt is missing: pip install 'virt-ova[libvirt]', or, for a Python that sees "
                "Debian's modules, apt install python3-libvirt"
            )
        return ""

    def open(self, uri: str, *, pool: str | None = None) -> Target:
        """Connect; see `virt_ova.target.libvirt.target.open_connection`."""
        with held_back():
            module = import_module("virt_ova.target.libvirt.target")
        return cast("Target", module.open_connection(uri, pool=pool))

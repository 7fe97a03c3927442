"""The driver of ``esx:`` and ``vpx:``. Importing this module does not import pyvmomi."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import cast

from virt_ova.interrupt import held_back
from virt_ova.target.exporting import Exporter
from virt_ova.target.importing import Ask, Importer


class EsxDriver:
    """Opens ESXi hosts and vCenters, to install and to export."""

    name = "vsphere"
    summary = "VMware ESXi and vCenter, through leases"
    example = "esx://root@esx.example/"

    def missing(self) -> str:
        """Whether the Python module is there."""
        if find_spec("pyVmomi") is None:
            return "the Python module pyvmomi is missing: pip install 'virt-ova[esx]'"
        return ""

    def open(self, uri: str, *, pool: str | None = None) -> Importer:
        """As `open_asking`, when there is nobody to ask."""
        return self.open_asking(uri, pool=pool, ask=None)

    def open_asking(self, uri: str, *, pool: str | None, ask: Ask | None) -> Importer:
        """Connect and log in; see `virt_ova.target.base.AskingDriver`."""
        with held_back():
            module = import_module("virt_ova.target.esx.target")
        return cast("Importer", module.open_vsphere(uri, pool=pool, ask=ask))

    def open_exporter(self, uri: str, *, ask: Ask | None) -> Exporter:
        """Connect and log in; see `virt_ova.target.exporting.ExportingDriver`."""
        with held_back():
            module = import_module("virt_ova.target.esx.export")
        return cast("Exporter", module.open_exporter(uri, ask=ask))

"""ESXi and vCenter, through the vSphere API: packages are imported through an NFC lease, and no byte is inflated."""

from virt_ova.target.esx.driver import EsxDriver

__all__ = ["DRIVER"]

DRIVER = EsxDriver()

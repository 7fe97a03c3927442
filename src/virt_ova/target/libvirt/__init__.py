"""Hypervisors that libvirt manages together with their storage: ``qemu:``, ``xen:``, ``test:``, local or remote."""

from virt_ova.target.libvirt.driver import LibvirtDriver

DRIVER = LibvirtDriver()
"""What the entry points name; libvirt's module is imported when a target is opened."""

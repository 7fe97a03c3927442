"""A real appliance, built from Debian's own packages: what the demo installs and the integration tests boot.

A partitioned disk with GRUB, Debian's kernel, a small initramfs and a root file system of busybox; as a
streamOptimized VMDK with a VMware descriptor and a SHA256 manifest, in an OVA. Its guest logs to the serial port, asks
for an address by DHCP and serves a page that tells what it sees of its machine. Nothing here needs root, a mount or a
loop device.

`spec` says what can be asked for; `image` makes the disk out of `debian` (packages), `initramfs` and ``guest/`` (the
files inside); `descriptor` and `package` wrap it up; `running` starts it in QEMU.
"""

from __future__ import annotations

from tests.build.appliance.image import DEFAULT_CACHE, build_disk
from tests.build.appliance.package import build_appliance
from tests.build.appliance.running import Guest, run_guest
from tests.build.appliance.spec import ApplianceSpec, DiskSpec

__all__ = ["DEFAULT_CACHE", "ApplianceSpec", "DiskSpec", "Guest", "build_appliance", "build_disk", "run_guest"]

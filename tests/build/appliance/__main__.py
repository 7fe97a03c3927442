"""Command line of the builder: ``scripts/build-appliance``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from tests.build.appliance.package import build_appliance
from tests.build.appliance.spec import ApplianceSpec, ControllerName, DiskSpec, FirmwareName


def main() -> None:
    """Build what the arguments ask for."""
    parser = argparse.ArgumentParser(prog="build-appliance", description="Build a real, small appliance as an OVA.")
    parser.add_argument("output", type=Path, metavar="OUTPUT.ova")
    parser.add_argument("--name", default="appliance")
    parser.add_argument("--firmware", choices=get_args(FirmwareName), default="bios")
    parser.add_argument("--controller", choices=get_args(ControllerName), default="lsilogic")
    parser.add_argument("--nic", default="E1000", help="adapter as VMware names it (default: %(default)s)")
    parser.add_argument("--memory-mib", type=int, default=512, help="memory in MiB (default: %(default)s)")
    arguments = parser.parse_args()
    disk = DiskSpec(firmware=arguments.firmware)
    spec = ApplianceSpec(
        name=arguments.name,
        disk=disk,
        controller=arguments.controller,
        nic=arguments.nic,
        memory_mib=arguments.memory_mib,
    )
    build_appliance(arguments.output, spec)


if __name__ == "__main__":
    main()

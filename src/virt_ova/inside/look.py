"""Looks inside a guest's disks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from virt_ova.errors import ToolError
from virt_ova.inside.appliance import Appliance, GuestImage, open_appliance
from virt_ova.inside.linux import look_into_linux
from virt_ova.inside.windows import look_into_windows
from virt_ova.plan.insight import Insight
from virt_ova.text import printable

_MOUNT: Final = re.compile(r"(?P<point>/\S*): (?P<device>/dev/\S+|btrfsvol:/dev/\S+)")


def look_inside(images: Sequence[GuestImage], folder: Path, *, can_kvm: bool) -> Insight:
    """What is on a guest's disks; `folder` is for what that needs meanwhile.

    Raises:
        ToolError: there is not one operating system on them (``E_NO_GUEST``); or guestfish is missing, fails, or takes
            too long.
    """
    with open_appliance(images, folder, can_kvm=can_kvm) as appliance:
        roots = appliance.lines("inspect-os")
        if len(roots) != 1:
            found = f"{len(roots)} operating systems were" if roots else "no operating system was"
            reason = f" ({said})" if (said := appliance.complaints()) else ""
            raise ToolError(f"{found} found on the disks, expected one{reason}", code="E_NO_GUEST")
        _mount(appliance, roots[0])
        insight = _recognise(appliance, roots[0])
        match insight.family:
            case "linux":
                return look_into_linux(appliance, insight)
            case "windows":
                return look_into_windows(appliance, roots[0], insight)
            case _:
                return insight


def _mount(appliance: Appliance, root: str) -> None:
    """Mount in the appliance what the guest would, the outermost first."""
    mounts = [match for line in appliance.lines("inspect-get-mountpoints", root) if (match := _MOUNT.fullmatch(line))]
    for mount in sorted(mounts, key=lambda each: len(each["point"])):
        appliance.ask("mount-ro", mount["device"], mount["point"])


def _recognise(appliance: Appliance, root: str) -> Insight:
    def told(what: str) -> str:
        return printable(appliance.ask(f"inspect-get-{what}", root))

    numbers = [number for what in ("major-version", "minor-version") if (number := told(what)) and number != "0"]
    family, distro, system = told("type"), told("distro"), told("product-name")
    return Insight(
        system=f"{distro} {system}" if system[:1].isdecimal() else system,
        family=family,
        distro=distro,
        version=".".join(numbers),
        architecture=told("arch"),
        obstacle="" if family in {"linux", "windows"} else f"drivers of {family or 'an unknown system'} are not known",
    )

"""What libosinfo's database says of a guest (https://libosinfo.org, Debian's ``osinfo-db``).

The database is a folder of small XML files, ``os/VENDOR/DISTRO-VERSION.xml``, one for each system and named after its
identifier ``http://VENDOR/DISTRO/VERSION``. So the one that is needed is found by its name, and with it those that it
derives from: a dozen files are read, of eight hundred. What an administrator adds is in ``/etc``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from virt_ova.ovf.envelope import OperatingSystem
from virt_ova.plan.guest import Guest, Support
from virt_ova.plan.guestname import GuestName, name_of

FOLDERS: Final = (Path("/usr/share/osinfo"), Path("/etc/osinfo"))

_PCI: Final = "http://pcisig.com/pci/"
_DEVICES: Final = {
    f"{_PCI}1af4/1001": Support.VIRTIO_BLK,
    f"{_PCI}1af4/1042": Support.VIRTIO_BLK,
    f"{_PCI}1af4/1004": Support.VIRTIO_SCSI,
    f"{_PCI}1af4/1048": Support.VIRTIO_SCSI,
    f"{_PCI}1af4/1000": Support.VIRTIO_NET,
    f"{_PCI}1af4/1041": Support.VIRTIO_NET,
    f"{_PCI}1af4/1050": Support.VIRTIO_GPU,
}
"""PCI devices, old and new kinds of virtio, by libosinfo's identifiers."""

_ID: Final = re.compile(
    r"http://(?P<vendor>[a-z0-9][a-z0-9.-]*)/(?P<distro>[A-Za-z0-9-]+)/(?P<version>[A-Za-z0-9._-]+)"
)
_NUMBERED: Final = re.compile(r"(?P<kind>2k|)(?P<number>\d+(?:\.\d+)*)")
_YEAR: Final = re.compile(r"\d{4}")
_MOST_ANCESTORS: Final = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    """One ``<os>``; `supports` says yes or no of what it mentions itself, `year` is that of its release."""

    id: str
    short_id: str
    parents: tuple[str, ...]
    supports: Mapping[Support, bool]
    year: int | None


def known_guests(
    systems: Iterable[OperatingSystem], folders: Iterable[Path] = FOLDERS
) -> dict[OperatingSystem, Guest] | None:
    """Each of `systems` as the database knows it; None where there is no database."""
    databases = [folder / "os" for folder in folders if (folder / "os").is_dir()]
    return {os: _find(name_of(os), databases) for os in systems} if databases else None


def _find(name: GuestName, databases: list[Path]) -> Guest:
    """The guest of that version; else of the first release of that version; else the last one before it."""
    files = {
        path.stem.removeprefix(f"{name.distro}-"): path
        for database in databases
        for path in database.glob(f"*/{name.distro}-*.xml")
    }
    version = _nearest(name.version, files) if name.distro and name.version else None
    entry = _read(files[version]) if version is not None else None
    if entry is None:
        return Guest(name=name)
    supports: dict[Support, bool] = {}
    for each in _lineage(entry, databases):
        supports = {**each.supports, **supports}
    has = frozenset(device for device, is_there in supports.items() if is_there)
    return Guest(name=name, id=entry.id, short_id=entry.short_id, supports=has, year=entry.year)


def _nearest(wanted: str, versions: Iterable[str]) -> str | None:
    known = set(versions)
    if wanted in known:
        return wanted
    target = _numbered(wanted)
    numbered = {key: each for each in known if (key := _numbered(each))}
    if target is None:
        return None
    alike = [key for key in numbered if key[0] == target[0]]
    releases = [key for key in alike if key[1][: len(target[1])] == target[1]]
    earlier = [key for key in alike if key[1] < target[1]]
    nearest = min(releases) if releases else max(earlier, default=None)
    return numbered[nearest] if nearest else None


def _numbered(version: str) -> tuple[str, tuple[int, ...]] | None:
    """Versions that can be put in order: ``22.04``, ``2k16``."""
    found = _NUMBERED.fullmatch(version)
    return (found["kind"], tuple(map(int, found["number"].split(".")))) if found else None


def _lineage(entry: _Entry, databases: list[Path]) -> Iterator[_Entry]:
    """`entry` and what it derives from, nearest first."""
    waiting, seen = [entry], {entry.id}
    while waiting and len(seen) <= _MOST_ANCESTORS:
        current = waiting.pop(0)
        yield current
        for parent in current.parents:
            if parent not in seen and (found := _by_id(parent, databases)):
                seen.add(parent)
                waiting.append(found)


def _by_id(identifier: str, databases: list[Path]) -> _Entry | None:
    found = _ID.fullmatch(identifier)
    if found is None:
        return None
    name = Path(found["vendor"], f"{found['distro']}-{found['version']}.xml")
    return next((entry for database in databases if (entry := _read(database / name))), None)


def _read(path: Path) -> _Entry | None:
    """The system in a file; None when it cannot be read."""
    try:
        os = ET.parse(path).getroot().find("os")  # noqa: S314 - a file of the host
    except (OSError, ET.ParseError):
        return None
    if os is None or not _ID.fullmatch(os.get("id", "")):
        return None
    parents = [each.get("id", "") for each in (*os.iterfind("derives-from"), *os.iterfind("clones"))]
    return _Entry(
        id=os.get("id", ""),
        short_id=os.findtext("short-id", ""),
        parents=tuple(parents),
        supports={
            _DEVICES[identifier]: device.get("supported") != "false"
            for device in os.iterfind("devices/device")
            if (identifier := device.get("id", "")) in _DEVICES
        },
        year=int(released[0]) if (released := _YEAR.match(os.findtext("release-date", ""))) else None,
    )

"""Packages from the Debian mirror that apt is set up for, unpacked into a cache instead of installed."""

from __future__ import annotations

import fcntl
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.build.appliance.spec import FirmwareName
from tests.build.appliance.tools import run

_KERNEL = "linux-image-amd64"
_BUSYBOX = "busybox-static"
_LOADERS: Mapping[FirmwareName, tuple[str, ...]] = {
    "bios": ("grub-pc-bin",),
    "efi": ("grub-efi-amd64-bin",),
    "secure-boot": ("grub-efi-amd64-signed", "shim-signed"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """Folders that packages were unpacked into; their names hold the versions."""

    kernel: Path
    busybox: Path
    loaders: tuple[Path, ...]

    @property
    def versions(self) -> tuple[str, ...]:
        """What the parts are, with versions."""
        return tuple(part.name for part in (self.kernel, self.busybox, *self.loaders))


def fetch_parts(firmware: FirmwareName, cache: Path) -> Parts:
    """The packages that a disk booted by `firmware` is made of, newest versions, downloaded only once each."""
    loaders = _LOADERS[firmware]
    stanzas = _candidates((_KERNEL, _BUSYBOX, *loaders))
    kernel = re.search(r"^Depends: (linux-image-\S+) \(= (\S+)\)", stanzas[_KERNEL], re.MULTILINE)
    if kernel is None:
        raise RuntimeError(f"{_KERNEL} names no kernel package:\n{stanzas[_KERNEL]}")
    return Parts(
        kernel=_unpack(kernel[1], kernel[2], cache),
        busybox=_unpack(_BUSYBOX, _version(stanzas[_BUSYBOX]), cache),
        loaders=tuple(_unpack(loader, _version(stanzas[loader]), cache) for loader in loaders),
    )


def fetch_packages(names: Iterable[str], cache: Path) -> list[Path]:
    """Folders that these packages were unpacked into, newest versions."""
    return [_unpack(name, _version(stanza), cache) for name, stanza in _candidates(names).items()]


def _candidates(names: Iterable[str]) -> dict[str, str]:
    """What apt knows of the version of each package that it would install."""
    text = run("apt-cache", "show", "--no-all-versions", *names)
    stanzas = (stanza for stanza in text.split("\n\n") if stanza.startswith("Package: "))
    return {stanza.split("\n", 1)[0].removeprefix("Package: "): stanza for stanza in stanzas}


def _version(stanza: str) -> str:
    found = re.search(r"^Version: (\S+)", stanza, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"apt names no version:\n{stanza}")
    return found[1]


@contextmanager
def _only_here(cache: Path) -> Iterator[None]:
    """Nobody else unpacks into `cache` meanwhile; several disks may be built at once."""
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _unpack(name: str, version: str, cache: Path) -> Path:
    folder = cache / f"{name}_{version}"
    cache.mkdir(parents=True, exist_ok=True)
    with _only_here(cache), tempfile.TemporaryDirectory(dir=cache) as scratch:
        if folder.is_dir():
            return folder
        # apt would drop root's rights to download, and then may not write here.
        run("apt-get", "-o", "APT::Sandbox::User=root", "download", f"{name}={version}", cwd=Path(scratch))
        (archive,) = Path(scratch).glob("*.deb")
        run("dpkg-deb", "--extract", archive, Path(scratch, "root"))
        Path(scratch, "root").rename(folder)
    return folder

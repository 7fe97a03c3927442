"""QEMU's guest agent, with the libraries that it needs, from Debian's packages."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.build.appliance.debian import fetch_packages

_PACKAGES = ("qemu-guest-agent", "libc6", "libglib2.0-0", "libpcre2-8-0", "libnuma1", "libudev1", "liburing2")
_LIBRARIES = (
    *("libc.so.6", "libm.so.6", "libglib-2.0.so.0", "libgmodule-2.0.so.0", "libpcre2-8.so.0"),
    *("libnuma.so.1", "libudev.so.1", "liburing.so.2"),
)
_LIBRARY_FOLDER = "lib/x86_64-linux-gnu"


def install_agent(root: Path, cache: Path) -> None:
    """Put the agent into the file system `root`, where ``etc/rc`` finds it; it names its system by ``os-release``."""
    packages = fetch_packages(_PACKAGES, cache)
    for folder in (_LIBRARY_FOLDER, "lib64", "usr/sbin"):
        (root / folder).mkdir(parents=True)
    for name in _LIBRARIES:
        shutil.copy(_found(packages, f"{_LIBRARY_FOLDER}/{name}"), root / _LIBRARY_FOLDER / name)
    loader = "ld-linux-x86-64.so.2"
    shutil.copy(_found(packages, f"{_LIBRARY_FOLDER}/{loader}"), root / "lib64" / loader)
    shutil.copy(_found(packages, "sbin/qemu-ga"), root / "usr/sbin/qemu-ga")
    (root / "etc/os-release").write_text('NAME="virt-ova appliance"\nPRETTY_NAME="virt-ova appliance 1"\n')


def _found(packages: list[Path], name: str) -> Path:
    """The file `name` of a package, which may have it under ``/usr``."""
    return next(path for package in packages for path in (package / name, package / "usr" / name) if path.exists())

"""What is compared with what."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from tests.build.vsphere import PASSWORD, USER, started

from benchmarks.runner import Case, Contestant
from benchmarks.samples import Sample

_VIRT_OVA: Final = str(Path(sys.executable).with_name("virt-ova"))
_GOVC: Final = "build/govc"
"""``scripts/build-govc`` makes it."""

_V2V_ENVIRONMENT: Final = ("env", "LIBGUESTFS_BACKEND=direct", "LIBGUESTFS_BACKEND_SETTINGS=force_tcg")


def expand_cases(name: str, sample: Sample, folder: Path) -> Iterator[Case]:
    """Expand a disk to a file, the manifest verified on the way by us alone."""
    output = folder / "output"
    for image_format in ("qcow2", "raw"):
        contestants = [
            _convert(sample, output, "expand", image_format),
            _qemu_img(sample, output, image_format),
            _qemu_img(sample, output, image_format, "-W", "-m", "16"),
        ]
        if image_format == "raw" and shutil.which("nbdcopy"):
            server = ["[", "qemu-nbd", "--read-only", sample.image, "]"]
            contestants.append(Contestant(name="nbdcopy", argv=["nbdcopy", "--", *server, str(output)]))
        yield Case(name=f"{name}: expand to {image_format}", contestants=contestants, output=output)


def transplant_case(name: str, sample: Sample, folder: Path) -> Case:
    """Transplant a disk, against a copy of the package and against its bare hash."""
    output = folder / "output"
    copy = ["cp", "--reflink=never", str(sample.package), str(output)]
    return Case(
        name=f"{name}: transplant",
        contestants=[
            _convert(sample, output, "transplant", "qcow2"),
            _convert(sample, output, "transplant", "qcow2", "--no-verify"),
            Contestant(name="cp", argv=copy),
            Contestant(
                name="cp, then sync", argv=["sh", "-c", f"{shlex.join(copy)} && sync {shlex.quote(str(output))}"]
            ),
            Contestant(name="openssl dgst -sha256", argv=["openssl", "dgst", "-sha256", str(sample.package)]),
        ],
        output=output,
    )


def instant_case(name: str, sample: Sample, folder: Path) -> Case:
    """What takes no time, whatever the size."""
    output = folder / "output"
    return Case(
        name=f"{name}: link and inspect",
        contestants=[
            _convert(sample, output, "link", "qcow2", "--no-verify"),
            Contestant(name="virt-ova inspect", argv=[_VIRT_OVA, "inspect", str(sample.package)], is_ours=True),
            Contestant(name="virt-ova --help", argv=[_VIRT_OVA, "--help"], is_ours=True),
        ],
        output=output,
    )


def v2v_case(name: str, sample: Sample, folder: Path) -> Case:
    """virt-v2v makes the guest fit the hypervisor besides, which takes most of its time; shown for completeness."""
    output = folder / "output"
    argv = [
        *_V2V_ENVIRONMENT,
        "virt-v2v",
        "-i",
        "ova",
        str(sample.package),
        "-o",
        "local",
        "-os",
        str(folder),
        "-of",
        "qcow2",
    ]
    return Case(
        name=f"{name}: virt-v2v",
        contestants=[
            _convert(sample, output, "expand", "qcow2"),
            Contestant(name="virt-v2v -i ova -o local", argv=argv),
        ],
        output=output,
    )


@contextmanager
def vsphere_case(name: str, sample: Sample, folder: Path) -> Iterator[Case]:
    """Import a package to a simulated ESXi, which hashes what comes; each run makes another machine."""
    folder = Path(tempfile.mkdtemp(prefix="vsphere-", dir=folder))
    with started(folder, is_kept=False) as esx:
        ours = ["env", f"LIBVIRT_AUTH_FILE={esx.auth_file}", _VIRT_OVA, "install", str(sample.package), "-c", esx.uri()]
        url = f"https://{USER}:{quote(PASSWORD, safe='')}@{esx.address}/sdk"
        govc = ["env", f"GOVC_URL={url}", "GOVC_INSECURE=1", _GOVC, "import.ova"]
        unverified = _named([*ours, "--no-verify"], None)
        peer = Contestant(name="govc import.ova", argv=_named(govc, sample))
        yield Case(
            name=f"{name}: import to ESXi",
            contestants=[
                Contestant(name="virt-ova install", argv=_named(ours, None), is_ours=True),
                Contestant(name="virt-ova install --no-verify", argv=unverified, is_ours=True),
                *([peer] if Path(_GOVC).exists() else []),
            ],
            output=folder / "output",
        )
    shutil.rmtree(folder)


def _named(argv: list[str], sample: Sample | None) -> list[str]:
    """`argv` as a process that names its machine by its own number; `sample` comes last when it is to be named."""
    option = "-name" if sample else "--name"
    package = shlex.quote(str(sample.package)) if sample else ""
    return ["sh", "-c", f'exec {shlex.join(argv)} {option} "m$$" {package}']


@contextmanager
def mounted(kind: str, folder: Path, size_bytes: int) -> Iterator[Path | None]:
    """An empty file system that can share blocks, on a loop device; None where that is not allowed."""
    image, place = folder / f"{kind}.image", folder / kind
    place.mkdir(exist_ok=True)
    with image.open("wb") as file:
        file.truncate(size_bytes)
    made = subprocess.run([f"mkfs.{kind}", "-q", image], check=False, capture_output=True)
    is_mounted = (
        not made.returncode
        and not subprocess.run(["mount", "-o", "loop", image, place], check=False, capture_output=True).returncode
    )
    try:
        yield place if is_mounted else None
    finally:
        if is_mounted:
            subprocess.run(["umount", place], check=True)
        image.unlink()


def _convert(sample: Sample, output: Path, mode: str, image_format: str, *more: str) -> Contestant:
    options = ["--disk-mode", mode, "--format", image_format, *more]
    name = shlex.join(["virt-ova convert", *options]).replace("'", "")
    return Contestant(name=name, argv=[_VIRT_OVA, "convert", str(sample.package), str(output), *options], is_ours=True)


def _qemu_img(sample: Sample, output: Path, image_format: str, *more: str) -> Contestant:
    argv = ["qemu-img", "convert", *more, "-O", image_format, sample.image, str(output)]
    return Contestant(name=" ".join(["qemu-img convert", *more, "-O", image_format]), argv=argv)

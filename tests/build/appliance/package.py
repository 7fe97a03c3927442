"""The OVA: descriptor, manifest and disk in a plain ustar, in the order that DSP0243 asks for."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

from tests.build.appliance.descriptor import write_descriptor
from tests.build.appliance.image import DEFAULT_CACHE, build_disk
from tests.build.appliance.spec import ApplianceSpec
from tests.build.appliance.tools import TIME


def build_appliance(output: Path, spec: ApplianceSpec, cache: Path = DEFAULT_CACHE) -> Path:
    """Write the appliance as `output`, an OVA; returns `output`. The disk comes from `cache` if it is there.

    Raises:
        RuntimeError: the disk cannot be built (see `build_disk`).
    """
    return pack_disk(output, spec, build_disk(spec.disk, cache))


def pack_disk(output: Path, spec: ApplianceSpec, vmdk: Path) -> Path:
    """Write the appliance with the boot disk `vmdk` as `output`, an OVA; returns `output`."""
    disk = vmdk.read_bytes()
    disk_name, descriptor_name = f"{spec.name}-disk1.vmdk", f"{spec.name}.ovf"
    descriptor = write_descriptor(spec, disk_name=disk_name, disk_size_bytes=len(disk))
    files = {disk_name: disk} | ({spec.variables_name: spec.variables} if spec.variables else {})
    manifest = "".join(
        f"SHA256({name})= {hashlib.sha256(content).hexdigest()}\n"
        for name, content in {descriptor_name: descriptor, **files}.items()
    )
    with tarfile.open(output, "w", format=tarfile.USTAR_FORMAT) as archive:
        _add(archive, descriptor_name, descriptor)
        _add(archive, f"{spec.name}.mf", manifest.encode())
        for name, content in files.items():
            _add(archive, name, content)
    return output


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    member.mtime = TIME
    archive.addfile(member, io.BytesIO(content))

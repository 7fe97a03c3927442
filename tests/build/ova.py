"""Packages made of named bytes: tars, folders, manifests, small descriptors.

members = [("a.ovf", descriptor([("a.vmdk", 5)])), ("a.vmdk", b"bytes")]
build_ova(tmp_path / "a.ova", [*members, ("a.mf", manifest_for(members))])
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

STREAM_OPTIMIZED = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"
_ENVELOPE = "http://schemas.dmtf.org/ovf/envelope/1"


def build_ova(
    path: Path,
    members: Iterable[tuple[str, bytes]],
    *,
    format: int = tarfile.USTAR_FORMAT,  # noqa: A002 - tarfile's own word
) -> Path:
    """Write a tar of `members`, in their order; returns `path`."""
    with tarfile.open(path, "w", format=format) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def build_folder(path: Path, members: Iterable[tuple[str, bytes]]) -> Path:
    """Write `members` as files in the folder `path`, which is made; returns `path`."""
    for name, data in members:
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return path


def manifest_for(members: Iterable[tuple[str, bytes]], algorithm: str = "SHA256") -> bytes:
    """The manifest of `members`, as ovftool writes it."""
    return b"".join(
        f"{algorithm}({name})= {hashlib.new(algorithm, data).hexdigest()}\n".encode() for name, data in members
    )


def with_manifest(
    members: Sequence[tuple[str, bytes]], *, algorithm: str = "SHA256", name: str = ""
) -> list[tuple[str, bytes]]:
    """`members`, the manifest put behind the first, which is the descriptor."""
    manifest = name or members[0][0].removesuffix(".ovf") + ".mf"
    return [members[0], (manifest, manifest_for(members, algorithm)), *members[1:]]


def descriptor(
    files: Sequence[tuple[str, int | None]] = (),
    *,
    file_attributes: str = "",
    format_uri: str = STREAM_OPTIMIZED,
    capacity: str = "1073741824",
    network: str = "VM Network",
) -> bytes:
    """A small OVF 1.1: one system, and one disk for each of `files` (href and ``ovf:size``), on one SCSI controller."""
    references = "".join(
        f'<File ovf:id="file{n}" ovf:href={quoteattr(href)} {_size(size)} {file_attributes}/>'
        for n, (href, size) in enumerate(files, 1)
    )
    disks = "".join(
        f'<Disk ovf:diskId="disk{n}" ovf:fileRef="file{n}" ovf:capacity="{capacity}" ovf:format="{format_uri}"/>'
        for n in range(1, len(files) + 1)
    )
    drives = "".join(
        _item(10 + n, 17, f"<rasd:HostResource>ovf:/disk/disk{n}</rasd:HostResource>", parent=3, address=n - 1)
        for n in range(1, len(files) + 1)
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="{_ENVELOPE}" xmlns:ovf="{_ENVELOPE}"
  xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
  xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData"
  xmlns:vmw="http://www.vmware.com/schema/ovf">
<References>{references}</References>
<DiskSection><Info>Disks</Info>{disks}</DiskSection>
<NetworkSection><Info>Networks</Info>
<Network ovf:name="{network}"><Description>A net</Description></Network></NetworkSection>
<VirtualSystem ovf:id="vm"><Info>A machine</Info><Name>vm</Name>
<OperatingSystemSection ovf:id="96" vmw:osType="debian12_64Guest"><Info>OS</Info></OperatingSystemSection>
<VirtualHardwareSection ovf:transport="iso"><Info>Hardware</Info>
<System><vssd:ElementName>Hardware</vssd:ElementName><vssd:InstanceID>0</vssd:InstanceID>
<vssd:VirtualSystemType>vmx-13</vssd:VirtualSystemType></System>
<Item><rasd:ElementName>2 CPUs</rasd:ElementName><rasd:InstanceID>1</rasd:InstanceID>
<rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>2</rasd:VirtualQuantity></Item>
<Item><rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits><rasd:ElementName>Memory</rasd:ElementName>
<rasd:InstanceID>2</rasd:InstanceID><rasd:ResourceType>4</rasd:ResourceType>
<rasd:VirtualQuantity>512</rasd:VirtualQuantity></Item>
<Item><rasd:Address>0</rasd:Address><rasd:ElementName>SCSI</rasd:ElementName><rasd:InstanceID>3</rasd:InstanceID>
<rasd:ResourceSubType>lsilogic</rasd:ResourceSubType><rasd:ResourceType>6</rasd:ResourceType></Item>
{drives}{_item(4, 10, f"<rasd:Connection>{network}</rasd:Connection>", subtype="E1000")}
</VirtualHardwareSection></VirtualSystem></Envelope>
""".encode()


def _size(size: int | None) -> str:
    return "" if size is None else f'ovf:size="{size}"'


def _item(instance: int, kind: int, body: str, *, parent: int = 0, address: int = 0, subtype: str = "") -> str:
    return (
        f"<Item><rasd:AddressOnParent>{address}</rasd:AddressOnParent><rasd:ElementName>item {instance}"
        f"</rasd:ElementName>{body}<rasd:InstanceID>{instance}</rasd:InstanceID>"
        + (f"<rasd:Parent>{parent}</rasd:Parent>" if parent else "")
        + (f"<rasd:ResourceSubType>{subtype}</rasd:ResourceSubType>" if subtype else "")
        + f"<rasd:ResourceType>{kind}</rasd:ResourceType></Item>"
    )

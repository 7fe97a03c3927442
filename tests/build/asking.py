"""A small package that asks for properties and has licences, and the CD that its machine gets."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from pycdlib import PyCdlib

from tests.build.ova import build_ova, with_manifest
from tests.build.small import edited, small_members
from virt_ova.ovf.environment import NAMESPACE

HOSTNAME: Final = (
    '<Property ovf:key="hostname" ovf:type="string" ovf:qualifiers="MinLen(1),MaxLen(8)" ovf:userConfigurable="true">'
    "<Label>Host name</Label><Description>How it is called &#x202e;</Description></Property>"
)
ROOT: Final = (
    '<Property ovf:key="root-pw" ovf:type="string" ovf:qualifiers="MinLen(8)" ovf:password="true" '
    'ovf:userConfigurable="true"><Label>Password</Label></Property>'
)
FIXED: Final = '<Property ovf:key="serial" ovf:type="string" ovf:value="7"/>'
DEFAULT: Final = '<Property ovf:key="net.ip" ovf:type="string" ovf:userConfigurable="true" ovf:value="dhcp"/>'
ALL: Final = HOSTNAME + ROOT + FIXED + DEFAULT

SECRET: Final = "hunter2 hunter2"  # noqa: S105 - a test's


def asking_ova(path: Path, properties: str = ALL, *licences: str) -> Path:
    """Write the package; returns `path`."""
    sections = "".join(f"<EulaSection><Info/><License>{text}</License></EulaSection>" for text in licences)
    sections += f"<ProductSection><Info/>{properties}</ProductSection>" if properties else ""
    return build_ova(path, with_manifest(edited(small_members(), "</VirtualSystem>", f"{sections}</VirtualSystem>")))


def told(disc: Path) -> dict[str, str]:
    """The properties on a CD that tells a machine its environment."""
    text, iso = io.BytesIO(), PyCdlib()
    iso.open(str(disc))
    iso.get_file_from_iso_fp(text, rr_path="/ovf-env.xml")
    iso.close()
    found = ET.fromstring(text.getvalue()).findall(f"{{{NAMESPACE}}}PropertySection/{{{NAMESPACE}}}Property")  # noqa: S314 - ours
    return {each.attrib[f"{{{NAMESPACE}}}key"]: each.attrib[f"{{{NAMESPACE}}}value"] for each in found}

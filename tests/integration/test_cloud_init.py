"""What an install tells a guest, read by the cloud-init that Debian ships."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from tests.build.cloudguest import CAPACITY_MIB, build_cloud_guest
from tests.build.command import command, environment
from tests.build.ova import descriptor
from tests.build.small import edited
from virt_ova.target.directory.domain import stop
from virt_ova.units import MIB

PRODUCT = """<ProductSection><Info>What cloud-init takes</Info><Product>Debian</Product>
<Property ovf:key="instance-id" ovf:type="string" ovf:userConfigurable="true" ovf:value="id-ovf"/>
<Property ovf:key="hostname" ovf:type="string" ovf:userConfigurable="true" ovf:qualifiers="MinLen(1) MaxLen(63)"/>
<Property ovf:key="user-data" ovf:type="string" ovf:userConfigurable="true" ovf:value=""/>
<Property ovf:key="password" ovf:type="string" ovf:userConfigurable="true" ovf:password="true"/>
</ProductSection></VirtualSystem>"""
USER_DATA = """#cloud-config
runcmd:
  - [sh, -c, "echo told: $(cloud-init query cloud_name) $(hostname) > /dev/ttyS0"]
  - [sh, -c, "grep -q ^debian:[$] /etc/shadow && echo the password is set > /dev/ttyS0"]
"""


def cloud_ova(path: Path) -> Path:
    """The guest as an appliance that asks for a host name, user data and a password."""
    disk, text, manifest = build_cloud_guest(), path.with_suffix(".ovf"), path.with_suffix(".mf")
    members = [("guest.ovf", descriptor([("guest.vmdk", disk.stat().st_size)], capacity=str(CAPACITY_MIB * MIB)))]
    text.write_bytes(edited(members, "</VirtualSystem>", PRODUCT)[0][1])
    lines = []
    for file, name in ((text, "guest.ovf"), (disk, "guest.vmdk")):
        with file.open("rb") as opened:
            lines.append(f"SHA256({name})= {hashlib.file_digest(opened, 'sha256').hexdigest()}\n")
    manifest.write_text("".join(lines))
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for file, name in ((text, "guest.ovf"), (manifest, "guest.mf"), (disk, "guest.vmdk")):
            tar.add(file, name)
    return path


def wait_for(console: Path, text: str, *, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while text not in (said := console.read_text(errors="replace")):
        assert time.monotonic() < deadline, said[-2000:]
        time.sleep(0.5)


@pytest.mark.timeout(1200)
def test_a_debian_guest_takes_its_name_user_data_and_password(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("debootstrap needs root")
    secrets = tmp_path / "secrets"
    secrets.write_text("password=correct horse\n")
    secrets.chmod(0o600)
    user_data = base64.b64encode(USER_DATA.encode()).decode()
    words = (
        *("install", cloud_ova(tmp_path / "guest.ova"), "-c", f"dir:{tmp_path}/m", "--name", "vm"),
        *("--property", "hostname=proof", "--property", f"user-data={user_data}", "--property-file", secrets),
        *("--start", "--wait-boot", "400"),
    )
    try:
        done = subprocess.run(
            command(*words), capture_output=True, text=True, check=False, env=environment(os.environ["PATH"])
        )
        assert (done.returncode, done.stderr.count("correct horse")) == (0, 0), done.stderr
        assert "Booted: login" in done.stdout
        assert "proof login:" in done.stdout
        console = tmp_path / "m" / "vm" / "serial.log"
        wait_for(console, "the password is set")
        assert "told: ovf proof" in console.read_text(errors="replace")
    finally:
        stop(tmp_path / "m" / "vm")

"""Every call that writes fails once while a package goes to libvirt: all or nothing, and one clear error.

As `tests.hostile.test_fault_sweep` for a folder. The volumes are files that are written in place.
"""

from __future__ import annotations

import re
from pathlib import Path
from subprocess import CompletedProcess

import libvirt
import pytest

from tests.build.command import virt_ova
from tests.build.disks import guest_bytes
from tests.build.faults import count_calls, run_failing
from tests.build.small import small_disk, small_ova
from tests.hostile.test_fault_sweep import CALLS, Fault, faults
from tests.integration.libvirt.conftest import Daemon

SAMPLE = 7
"""Without ``--long``, only every so many calls fail."""

ROLLBACK_INCOMPLETE = 3

STAYED = {"E_IO", "E_SPACE", "E_LIBVIRT", "E_CONNECT", "E_POOL", "E_VOLUME"}
"""What a failing call may be told as: libvirt has words of its own for a line that breaks."""


@pytest.mark.timeout(1800)
def test_every_call_fails_once(daemon: Daemon, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    images = daemon.add_pool("images")
    daemon.connection.storagePoolLookupByName("images").create()
    words = ("install", small_ova(tmp_path / "a.ova"), "-c", daemon.uri, "--pool", "images", "--virt-type", "qemu")
    is_long = pytestconfig.getoption("--long")
    counts = count_calls(CALLS, tmp_path / "calls", *words)
    assert counts["fsync"] > 1
    clear(daemon)
    outcomes = {"undone": 0, "done": 0}
    for number, fault in enumerate(faults(counts, is_long=is_long)):
        if is_long or number % SAMPLE == 0:
            outcomes[judge(daemon, images, run_failing([fault.injection], *words), fault)] += 1
            clear(daemon)
    assert min(outcomes.values()) > 0, outcomes


def judge(daemon: Daemon, images: Path, done: CompletedProcess[str], fault: Fault) -> str:
    """Whether it was ``done`` or ``undone``; anything between fails the test."""
    assert "Traceback" not in done.stderr, fault
    codes = re.findall(r"^virt-ova: error: .* \[(E_\w+)\]$", done.stderr, re.MULTILINE)
    can_tell = not (fault.call == "write" and fault.lasts)
    if done.returncode == ROLLBACK_INCOMPLETE:
        assert not can_tell, fault  # nothing can be asked of libvirt any more
        recovered = virt_ova("recover")
        assert recovered.returncode == 0, (fault, recovered.stderr)
    if daemon.connection.listAllDomains(0):
        assert [domain.name() for domain in daemon.connection.listAllDomains(0)] == ["vm"], fault
        assert guest_bytes(images / "vm-disk1.qcow2") == small_disk(), fault
        assert codes == ([] if done.returncode == 0 or not can_tell else ["E_OUTPUT"]), (fault, done.stderr)
        return "done"
    assert list(images.iterdir()) == [], (fault, done.stderr)
    assert done.returncode in {1, ROLLBACK_INCOMPLETE}, (fault, done.stderr)
    assert len(codes) == can_tell, (fault, done.stderr)
    assert set(codes) <= STAYED, (fault, done.stderr)
    return "undone"


def clear(daemon: Daemon) -> None:
    """Leave no machine and no volume."""
    for domain in daemon.connection.listAllDomains(0):
        domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)
    pool = daemon.connection.storagePoolLookupByName("images")
    pool.refresh(0)
    for volume in pool.listAllVolumes(0):
        volume.delete(0)

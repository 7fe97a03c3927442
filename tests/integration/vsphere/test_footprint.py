"""What an import takes of the host that it runs on: no file but its journal, and little memory."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.build.command import command, environment
from tests.build.disks import KIB, SECTOR, sparse_vmdk
from tests.build.ova import build_folder, build_ova, descriptor, with_manifest
from tests.build.peak import peak_bytes
from tests.build.vsphere import VSphere
from virt_ova.units import MIB

PACKAGE_BYTES = 192 * MIB
PEAK_BYTES = 150 * MIB
MAKING = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TMPFILE|O_TRUNC|O_APPEND")
TRACED = (
    *("open", "openat", "openat2", "creat", "memfd_create", "mknod", "mknodat", "mkdir", "mkdirat", "link", "linkat"),
    *("rename", "renameat", "renameat2"),
)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A package of 192 MiB, in which nothing is compressed."""
    grains, block = PACKAGE_BYTES // (64 * KIB), bytes(range(256)) * 256
    image = sparse_vmdk(PACKAGE_BYTES // SECTOR, dict.fromkeys(range(grains), block), level=0)
    text = descriptor([("d.vmdk", len(image))], capacity=str(PACKAGE_BYTES))
    path = build_ova(tmp_path_factory.mktemp("p") / "a.ova", with_manifest([("a.ovf", text), ("d.vmdk", image)]))
    yield path
    path.unlink()


@pytest.mark.parametrize("as_pipe", [False, True], ids=["file", "pipe"])
def test_no_file_is_made_but_the_journal(
    package: Path, tmp_path: Path, esx: VSphere, state_home: Path, *, as_pipe: bool
) -> None:
    log = tmp_path / "log"
    words = command("install", "-" if as_pipe else package, "-c", esx.uri(), "--name", "web")
    subprocess.run(
        ["/usr/bin/strace", "-f", "-y", "-qq", "-o", log, "-e", f"trace={','.join(TRACED)}", *words],
        input=package.read_bytes() if as_pipe else b"",
        check=True,
        capture_output=True,
        env=environment(PYTHONDONTWRITEBYTECODE="1"),
    )
    calls = log.read_text().splitlines()
    assert len(calls) > 100
    made = [call for call in calls if not re.search(r" open(at|at2)?\(", call) or MAKING.search(call)]
    journal = re.escape(f"{state_home}/virt-ova/")
    others = [call for call in made if not re.search(rf'"{journal}[0-9a-f]{{16}}\.journal"|"/dev/null"', call)]
    assert others == []
    assert len(made) > len(others)


def test_the_package_is_never_in_memory(package: Path, esx: VSphere) -> None:
    assert peak_bytes("install", package, "-c", esx.uri(), "--name", "web") < PEAK_BYTES


def test_a_disk_that_is_made_a_stream_is_not_either(tmp_path: Path, esx: VSphere) -> None:
    text = descriptor([("d.raw", PACKAGE_BYTES)], capacity=str(PACKAGE_BYTES))
    folder = build_folder(tmp_path / "a", [("a.ovf", text)])
    with (folder / "d.raw").open("wb") as file:
        file.write(b"begin" * 1000)
        file.truncate(PACKAGE_BYTES)
    assert peak_bytes("install", folder, "-c", esx.uri(), "--name", "web") < PEAK_BYTES

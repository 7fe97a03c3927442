"""Packages on a web server through the command line: what is fetched, what comes out, what is left after a failure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.build.disks import KIB, MIB, convert, qemu_img, random_disk
from tests.build.ova import build_ova, descriptor, with_manifest
from tests.build.tar import END, header, padded
from tests.build.webserver import Answer, Asked, WebServer, serve

CAPACITY = 64 * MIB


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_disk(tmp_path_factory.mktemp("raw") / "disk.raw", CAPACITY, range(0, 1024, 2))


@pytest.fixture(scope="module")
def ova(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ova")
    disk = convert(raw, folder / "disk.vmdk", "vmdk", "subformat=streamOptimized", "-c").read_bytes()
    text = descriptor([("disk.vmdk", len(disk))], capacity=str(CAPACITY))
    return build_ova(folder / "a.ova", with_manifest([("a.ovf", text), ("disk.vmdk", disk)]))


@pytest.fixture
def server(ova: Path) -> Iterator[WebServer]:
    with serve({"/a.ova": ova}) as server:
        yield server


def virt_ova(*words: str | Path, status: int = 0) -> Any:  # noqa: ANN401 - a JSON document
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "virt_ova.cli", *words, "--json"],
        capture_output=True, text=True, check=False, timeout=60, env=environment,
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout)


def big_package(path: Path, disks: int, disk_bytes: int) -> Path:
    """An OVA whose disks are holes, the manifest last."""
    text = descriptor([(f"{n}.raw", disk_bytes) for n in range(disks)])
    entry = f"SHA256({{}})= {'0' * 64}\n"
    manifest = "".join(map(entry.format, ["a.ovf", *(f"{n}.raw" for n in range(disks))])).encode()
    with path.open("wb") as file:
        file.write(header("a.ovf", len(text)) + padded(text))
        for n in range(disks):
            file.write(header(f"{n}.raw", disk_bytes))
            file.seek(disk_bytes, os.SEEK_CUR)
        file.write(header("a.mf", len(manifest)) + padded(manifest) + END)
    return path


@pytest.mark.parametrize("disks", [1, 4])
@pytest.mark.parametrize("verb", ["inspect", "disks", "descriptor"])
def test_looking_at_a_big_package_fetches_little(tmp_path: Path, verb: str, disks: int) -> None:
    path = big_package(tmp_path / "big.ova", disks, 200 * MIB)
    with serve({"/big.ova": path}) as server:
        assert virt_ova(verb, server.url("/big.ova")) == virt_ova(verb, path)
        assert server.sent_bytes < MIB
        assert len(server.asked) < 12


@pytest.mark.parametrize("verb", ["inspect", "verify"])
def test_a_url_says_what_the_file_says(server: WebServer, ova: Path, verb: str) -> None:
    assert virt_ova(verb, server.url("/a.ova")) == virt_ova(verb, ova)


@pytest.mark.parametrize("options", [(), ("--no-verify",), ("--disk-mode", "transplant"), ("--format", "raw")])
def test_convert_streams_each_byte_once(
    server: WebServer, ova: Path, raw: Path, tmp_path: Path, options: Sequence[str]
) -> None:
    image = tmp_path / "disk.img"
    document = virt_ova("convert", server.url("/a.ova"), image, *options)
    assert document["trust"] == ("unverified" if "--no-verify" in options else "digests")
    assert "identical" in qemu_img("compare", "-f", "raw", "-F", document["format"], raw, image)
    tables = 256 * KIB
    assert ova.stat().st_size - 2 * MIB < server.sent_bytes < ova.stat().st_size + tables
    assert len(server.asked) < 20


def test_install_into_a_folder(server: WebServer, raw: Path, tmp_path: Path) -> None:
    document = virt_ova("install", server.url("/a.ova"), "--connect", f"dir:{tmp_path / 'vms'}")
    (volume,) = document["volumes"]
    assert document["trust"] == "digests"
    assert "identical" in qemu_img("compare", "-f", "raw", "-F", "qcow2", raw, volume["path"])


def test_convert_over_connections_that_break(server: WebServer, raw: Path, tmp_path: Path) -> None:
    def fault(_: Asked, answer: Answer) -> None:
        answer.cut_after = 3 * MIB

    server.fault = fault
    virt_ova("convert", server.url("/a.ova"), tmp_path / "disk.qcow2")
    assert "identical" in qemu_img("compare", raw, tmp_path / "disk.qcow2")


def replace_file(asked: Asked, answer: Answer) -> None:
    if asked.start > MIB:
        answer.headers["ETag"] = '"new"'


def cut_always(asked: Asked, answer: Answer) -> None:
    if asked.start > MIB:
        answer.cut_after = 0


def forget_file(asked: Asked, answer: Answer) -> None:
    if asked.start > MIB:
        answer.status = 404


@pytest.mark.parametrize(
    ("fault", "code"),
    [(replace_file, "E_CHANGED"), (cut_always, "E_HTTP_READ"), (forget_file, "E_HTTP_STATUS")],
)
def test_a_failure_on_the_way_leaves_nothing(server: WebServer, tmp_path: Path, fault: Any, code: str) -> None:  # noqa: ANN401
    server.fault = fault
    document = virt_ova("convert", server.url("/a.ova"), tmp_path / "disk.qcow2", status=1)
    assert document["error"]["code"] == code
    assert server.url("/a.ova") in document["error"]["message"]
    document = virt_ova("install", server.url("/a.ova"), "--connect", f"dir:{tmp_path / 'vms'}", status=1)
    assert document["error"]["code"] == code
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == []


def test_a_wrong_digest_is_noticed(server: WebServer, ova: Path, tmp_path: Path) -> None:
    data = bytearray(ova.read_bytes())
    data[len(data) // 2] ^= 1
    server.files["/a.ova"] = tmp_path / "a.ova"
    (tmp_path / "a.ova").write_bytes(data)
    document = virt_ova("convert", server.url("/a.ova"), tmp_path / "disk.qcow2", status=1)
    assert document["error"]["code"] in {"E_DIGEST", "E_DISK_GRAIN"}
    assert not (tmp_path / "disk.qcow2").exists()


def test_a_password_is_in_no_output(server: WebServer, tmp_path: Path) -> None:
    secret = server.url("/a.ova", userinfo="joe:hunter2")
    image = tmp_path / "disk.qcow2"
    documents = [virt_ova("inspect", secret), virt_ova("convert", secret, image)]
    server.fault = forget_file
    documents.append(virt_ova("convert", secret, tmp_path / "second.qcow2", status=1))
    assert "hunter2" not in json.dumps(documents)
    assert b"hunter2" not in image.read_bytes()
    assert all(asked.headers["authorization"] == "Basic am9lOmh1bnRlcjI=" for asked in server.asked)

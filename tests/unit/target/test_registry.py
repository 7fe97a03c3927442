"""Drivers are found by scheme, and fail alone."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from virt_ova.errors import TargetError
from virt_ova.target import registry
from virt_ova.target.directory.driver import DirectoryTarget
from virt_ova.text import quoted


def test_the_drivers_that_come_with_us() -> None:
    found = {entry.schemes: entry.driver for entry in registry.drivers()}
    for schemes, name in ((("dir",), "dir"), (("qemu", "test", "xen"), "libvirt")):
        driver = found[schemes]
        assert driver is not None
        assert driver.name == name
        assert driver.summary
        assert driver.example.partition(":")[0] in schemes
        assert driver.missing() == ""


def test_listing_imports_no_hypervisor_library() -> None:
    script = "import sys; from virt_ova.target.registry import drivers; drivers(); print('libvirt' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    ("uri", "scheme"),
    [
        ("dir:/x", "dir"),
        ("qemu:///system", "qemu"),
        ("qemu+ssh://host/system", "qemu"),
        ("QEMU:///x", "qemu"),
        ("/x", ""),
        ("", ""),
    ],
)
def test_the_scheme_chooses(uri: str, scheme: str) -> None:
    assert registry.scheme_of(uri) == scheme


def test_a_folder_is_opened(tmp_path: Path) -> None:
    target = registry.open_target(f"dir:{tmp_path}")
    assert isinstance(target, DirectoryTarget)
    assert target.uri == f"dir:{tmp_path}"


@pytest.mark.parametrize("uri", ["vbox:///session", "/srv/machines", "", "a[31m:x"])
def test_an_unknown_scheme_lists_the_known(uri: str) -> None:
    with pytest.raises(TargetError, match=r"^no driver installs to '.*', expected a URI .* one of dir:, ") as caught:
        registry.open_target(uri)
    assert caught.value.code == "E_TARGET"
    assert caught.value.hint == "A folder is written dir:PATH, the local hypervisor qemu:///system."


@pytest.mark.parametrize("uri", ["a\x1b[31m:x", "dir:/srv\n", "dir:/srv/\udcff", "qemu:///system\0"])
def test_a_uri_that_is_no_text_is_refused(uri: str) -> None:
    with pytest.raises(TargetError) as caught:
        registry.open_target(uri)
    message = f"the connection URI {quoted(uri)} has control characters or is not UTF-8"
    assert (caught.value.code, caught.value.message) == ("E_TARGET", message)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A third party's driver that cannot be imported, next to ours."""
    points = EntryPoints(
        [
            EntryPoint("dir", "virt_ova.target.directory:DRIVER", registry.GROUP),
            EntryPoint("odd", "no_such_package:DRIVER", registry.GROUP),
        ]
    )
    monkeypatch.setattr(registry, "entry_points", lambda *, group: points.select(group=group))


def test_a_lack_of_memory_breaks_no_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "hungry.py").write_text("raise MemoryError")
    monkeypatch.syspath_prepend(tmp_path)
    points = EntryPoints([EntryPoint("dir", "hungry:DRIVER", registry.GROUP)])
    monkeypatch.setattr(registry, "entry_points", lambda *, group: points.select(group=group))
    with pytest.raises(MemoryError):
        registry.open_target("dir:m")


@pytest.mark.usefixtures("broken")
def test_a_broken_driver_fails_alone(tmp_path: Path) -> None:
    listed = {entry.schemes: entry for entry in registry.drivers()}
    assert listed["dir",].driver is not None
    assert listed["odd",].driver is None
    assert "No module named 'no_such_package'" in listed["odd",].problem
    assert registry.open_target(f"dir:{tmp_path}").uri == f"dir:{tmp_path}"
    with pytest.raises(
        TargetError, match=r"^the driver 'no_such_package:DRIVER' cannot be loaded: ModuleNot"
    ) as caught:
        registry.open_target("odd:x")
    assert caught.value.code == "E_TARGET"
    assert caught.value.hint == "Reinstall or remove the package that has this driver."


def test_a_driver_that_lacks_something_says_what() -> None:
    script = (
        "import sys; sys.modules['libvirt'] = None; import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'libvirt' else find(name, *rest)\n"
        "from virt_ova.target.registry import open_target\n"
        "try: open_target('qemu:///system')\n"
        "except Exception as exc: print(exc.code, exc)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "E_TARGET the driver libvirt cannot be used: the Python module libvirt is missing: "
        "pip install 'virt-ova[libvirt]', or, for a Python that sees Debian's modules, apt install python3-libvirt\n"
    )


def test_who_exports() -> None:
    assert {entry.schemes for entry in registry.drivers() if entry.exports} == {("esx", "vpx")}


@pytest.mark.parametrize("uri", ["qemu:///system", "dir:machines", "test:///default"])
def test_from_where_nothing_is_exported(uri: str) -> None:
    with pytest.raises(TargetError) as caught:
        registry.open_exporter(uri)
    assert (caught.value.code, caught.value.message, caught.value.hint) == (
        "E_NOT_SUPPORTED",
        f"machines cannot be exported from '{uri}', expected a URI that begins with one of esx:, vpx:",
        "Name the host with --connect; 'virt-ova targets' says from where machines can be exported.",
    )

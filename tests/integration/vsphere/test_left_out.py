"""Servers that leave something out of an answer, or name another thing: an error that says so, or no need of it.

Nothing is left.
Every element of every answer is left out in turn by ``--long``, else some of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

import virt_ova
from tests.build.dropping import Dropper, dropping
from tests.build.small import listing, small_ova
from tests.build.vapp import vapp_ova
from tests.build.vsphere import VSphere
from tests.integration.vsphere.conftest import clear, everything, placed_in
from virt_ova import InstallOptions, RollbackError, VirtOvaError
from virt_ova.target.esx import lease

SAMPLE = 5
LOG = "Look at the host's log (hostd.log, vpxd.log); something between here and the host may have changed its answer."


@pytest.fixture(autouse=True)
def no_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers come in the same order every time."""
    monkeypatch.setattr(lease, "BEAT_SECONDS", 60)


def outcomes(vsphere: VSphere, run: Callable[[VSphere], object], *, is_long: bool) -> Iterator[str]:
    """The code of each run in which something was left out, empty for one that succeeded; an error leaves nothing."""
    with dropping(vsphere) as dropper:
        run(dropper.vsphere)
        cuts = dropper.cuts()
        for cut in cuts[:: 1 if is_long else len(cuts) // SAMPLE]:
            before = everything(vsphere)
            dropper.begin(cut)
            error = None
            try:
                run(dropper.vsphere)
            except VirtOvaError as exc:
                error = exc
            assert not isinstance(error, RollbackError), cut
            assert error is None or everything(vsphere) == before, cut
            clear(vsphere, before)
            yield error.code if error else ""


@pytest.mark.parametrize(("kind", "is_group"), [("esx", False), ("vcenter", False), ("vcenter", True)])
def test_installs(
    tmp_path: Path, request: pytest.FixtureRequest, state_home: Path, kind: str, *, is_group: bool
) -> None:
    vsphere: VSphere = request.getfixturevalue(kind)
    package = vapp_ova(tmp_path / "a.ova", ("db", "web")) if is_group else small_ova(tmp_path / "a.ova")
    numbers = count()

    def run(there: VSphere) -> None:
        virt_ova.install(package, there.uri(), options=InstallOptions(name=f"web{next(numbers)}", start=True))

    codes = set(outcomes(vsphere, run, is_long=request.config.getoption("--long")))
    assert codes >= {"", "E_CONNECT"}
    assert listing(state_home / "virt-ova") == []


def test_exports(tmp_path: Path, vsphere: VSphere, request: pytest.FixtureRequest) -> None:
    virt_ova.install(small_ova(tmp_path / "a.ova"), vsphere.uri(), options=InstallOptions(name="web"))
    numbers = count()

    def run(there: VSphere) -> None:
        virt_ova.export(there.uri(), "web", tmp_path / f"web{next(numbers)}.ova")

    for code in outcomes(vsphere, run, is_long=request.config.getoption("--long")):
        if code:
            assert not (tmp_path / f"web{next(numbers) - 1}.ova").exists()


@pytest.fixture
def dropper(esx: VSphere) -> Iterator[Dropper]:
    """A proxy before the ESXi."""
    with dropping(esx) as dropper:
        yield dropper


@pytest.mark.parametrize(
    ("path", "code", "message"),
    [
        ("returnval/about/apiType", "E_CONNECT", "what came is no answer of vSphere (it does not tell what it is)"),
        (
            "returnval/propertyCollector",
            "E_VSPHERE",
            "the server's answer makes no sense: nothing is there for 'RetrieveContents'",
        ),
        ("returnval/searchIndex", "E_VSPHERE", "the server's answer makes no sense: nothing is there for 'FindChild'"),
        (
            "returnval/ovfManager",
            "E_VSPHERE",
            "the server's answer makes no sense: nothing is there for 'CreateImportSpec'",
        ),
        ("importSpec/configSpec", "E_VSPHERE", "the server's answer makes no sense: nothing is there for 'uuid'"),
        ("returnval/fileItem", "E_IMPORT_SPEC", "does not ask for 'a1.vmdk', of which it has to make a disk"),
        ("returnval/entity", "E_VSPHERE", "the server's answer makes no sense: nothing is there for 'config'"),
        ("ImportVAppResponse/returnval", "E_CONNECT", "is no answer of vSphere (ImportVApp is answered by NoneType)"),
        ("returnval/deviceUrl", "E_LEASE", "the lease cannot be used: it has no place for 'a1.vmdk' ('/web/disk:0')"),
        ("FetchResponse/returnval/state", "E_VSPHERE", "starting 'web' failed: the server does not say why"),
        ("deviceUrl/url", "E_LEASE", "the lease cannot be used: it leads to '', expected https://127.0.0.1/"),
    ],
)
def test_what_is_left_out_is_told(tmp_path: Path, dropper: Dropper, path: str, code: str, message: str) -> None:
    package, uri = small_ova(tmp_path / "a.ova"), dropper.vsphere.uri()
    virt_ova.install(package, uri, options=InstallOptions(name="model", start=True))
    cut = next(each for each in dropper.cuts() if each.path.endswith(path))
    before = everything(dropper.vsphere)
    dropper.begin(cut)
    with pytest.raises(VirtOvaError) as caught:
        virt_ova.install(package, uri, options=InstallOptions(name="web", start=True))
    assert caught.value.code == code
    assert caught.value.message.endswith(message)
    assert (caught.value.hint == LOG) == (" failed: the server's answer makes no sense: " in caught.value.message)
    assert everything(dropper.vsphere) == before


@pytest.mark.parametrize(
    ("instead", "message"),
    [
        (
            b'<entity type="Datastore">datastore-1</entity>',
            "looking at 'web' failed: the server's answer makes no sense: nothing is there for 'config'",
        ),
        (b'<entity type="VirtualMachine">vm-none</entity>', "looking at 'web' failed: "),
    ],
    ids=["of another kind", "of nobody"],
)
def test_a_lease_that_names_another_thing_leaves_nothing(
    tmp_path: Path, dropper: Dropper, instead: bytes, message: str
) -> None:
    package, uri = small_ova(tmp_path / "a.ova"), dropper.vsphere.uri()
    virt_ova.install(package, uri, options=InstallOptions(name="model"))
    cut = next(each for each in dropper.cuts() if each.path.endswith("returnval/entity"))
    before = everything(dropper.vsphere)
    dropper.begin(replace(cut, instead=instead))
    with pytest.raises(VirtOvaError) as caught:
        virt_ova.install(package, uri, options=InstallOptions(name="web"))
    assert caught.value.code == "E_VSPHERE"
    assert caught.value.message.startswith(message)
    assert everything(dropper.vsphere) == before


def test_a_lease_that_names_a_machine_of_somebody_else_leaves_it_alone(tmp_path: Path, dropper: Dropper) -> None:
    package, uri = small_ova(tmp_path / "a.ova"), dropper.vsphere.uri()
    virt_ova.install(package, uri, options=InstallOptions(name="model"))
    with placed_in(dropper.vsphere) as place:
        (theirs,) = [each._GetMoId() for each in place.machines() if each.name == "model"]
    cut = next(each for each in dropper.cuts() if each.path.endswith("returnval/entity"))
    before = everything(dropper.vsphere)
    dropper.begin(replace(cut, instead=f'<entity type="VirtualMachine">{theirs}</entity>'.encode()))
    with pytest.raises(VirtOvaError) as caught:
        virt_ova.install(package, uri, options=InstallOptions(name="web"))
    assert (caught.value.code, caught.value.message) == (
        "E_LEASE",
        "the lease is for the machine 'model', expected 'web'",
    )
    assert caught.value.hint == "Look at the events of the host or vCenter, then try again."
    assert everything(dropper.vsphere) == before

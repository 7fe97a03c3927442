"""URIs, errors and capabilities of libvirt, without a daemon."""

from __future__ import annotations

import errno

import libvirt
import pytest

from virt_ova.errors import SpaceError, TargetError
from virt_ova.plan.machine import FirmwareKind
from virt_ova.target.libvirt.capabilities import interpret
from virt_ova.target.libvirt.driver import LibvirtDriver
from virt_ova.target.libvirt.errors import absent_is_fine, silence, translated
from virt_ova.target.libvirt.pool import default_folder
from virt_ova.target.libvirt.uri import is_local


@pytest.mark.parametrize(
    ("uri", "local"),
    [
        ("qemu:///system", True),
        ("qemu+unix:///session?socket=/x", True),
        ("qemu+ssh://host/system", False),
        ("qemu+ssh:///system", False),
        ("qemu://host/system", False),
    ],
)
def test_where_the_daemon_is(uri: str, local: bool) -> None:  # noqa: FBT001 - a table
    assert is_local(uri) is local


@pytest.mark.parametrize(
    ("uri", "folder"),
    [
        ("qemu:///system", "/var/lib/libvirt/images"),
        ("qemu+ssh://sessions.example/system?socket=/session", "/var/lib/libvirt/images"),
        ("qemu:///session", "/data/libvirt/images"),
    ],
)
def test_where_the_default_pool_is_made(uri: str, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_folder(uri) == folder


def test_the_folders_of_a_user_on_another_host_are_not_guessed() -> None:
    with pytest.raises(
        TargetError,
        match=r"^qemu\+ssh://host/session has no storage pool, and where its user keeps images is not known here$",
    ) as caught:
        default_folder("qemu+ssh://host/session")
    assert (caught.value.code, caught.value.hint) == (
        "E_POOL",
        "Make one: virsh -c qemu+ssh://host/session pool-create-as default dir --target FOLDER",
    )


def failure(code: int, domain: int = libvirt.VIR_FROM_NONE, number: int = -1) -> libvirt.libvirtError:
    """An error as libvirt-python makes it."""
    error = libvirt.libvirtError("x")
    error.err = (code, domain, "words\x1b[31m of\nlibvirt", 2, "", "", "", number, 0)
    return error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (failure(libvirt.VIR_ERR_NO_CONNECT), "E_CONNECT"),
        (failure(libvirt.VIR_ERR_AUTH_FAILED), "E_CONNECT"),
        (failure(libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_FROM_RPC, errno.ECONNREFUSED), "E_CONNECT"),
        (failure(libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_FROM_RPC), "E_CONNECT"),
        (failure(libvirt.VIR_ERR_OPERATION_DENIED), "E_ACCESS"),
        (failure(libvirt.VIR_ERR_STORAGE_VOL_EXIST), "E_EXISTS"),
        (failure(libvirt.VIR_ERR_NO_STORAGE_POOL), "E_POOL"),
        (failure(libvirt.VIR_ERR_NO_NETWORK), "E_NETWORK"),
        (failure(libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_FROM_NETWORK), "E_NETWORK"),
        (failure(libvirt.VIR_ERR_NO_SUPPORT), "E_NOT_SUPPORTED"),
        (failure(libvirt.VIR_ERR_XML_ERROR), "E_LIBVIRT"),
        (failure(libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_FROM_STORAGE, errno.EIO), "E_LIBVIRT"),
    ],
)
def test_errors_get_our_codes_and_keep_their_words(error: libvirt.libvirtError, code: str) -> None:
    with pytest.raises(TargetError) as caught, translated("defining 'web'"):
        raise error
    assert caught.value.code == code
    assert str(caught.value) == "defining 'web' failed: words\\x1b[31m of\\nlibvirt"
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_no_space(number: int) -> None:
    with pytest.raises(SpaceError) as caught, translated("uploading 'a'"):
        raise failure(libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_FROM_STREAMS, number)
    assert caught.value.code == "E_SPACE"
    assert "--pool" in caught.value.hint


def test_every_kind_of_missing_and_taken_thing_has_a_code() -> None:
    subjects = ("CONNECT", "DOMAIN", "NETWORK", "STORAGE_POOL", "STORAGE_VOL", "SUPPORT")
    names = [f"VIR_ERR_NO_{subject}" for subject in subjects]
    names += [
        name for name in dir(libvirt) if name.startswith("VIR_ERR_") and name.endswith(("DOM_EXIST", "VOL_EXIST"))
    ]
    names += [name for name in dir(libvirt) if name.startswith("VIR_ERR_AUTH_")]
    assert len(names) >= 11
    for name in names:
        with pytest.raises(TargetError) as caught, translated("x"):
            raise failure(getattr(libvirt, name))
        assert caught.value.code != "E_LIBVIRT", name


def test_only_the_absence_that_was_named_is_fine() -> None:
    with absent_is_fine(libvirt.VIR_ERR_NO_DOMAIN):
        raise failure(libvirt.VIR_ERR_NO_DOMAIN)
    with pytest.raises(libvirt.libvirtError), absent_is_fine(libvirt.VIR_ERR_NO_DOMAIN):
        raise failure(libvirt.VIR_ERR_NO_NETWORK)


def test_libvirt_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    silence()
    with pytest.raises(
        TargetError, match=r"^connecting to 'xen\+unix:///nowhere\?socket=/no/such/socket' failed: "
    ) as caught:
        LibvirtDriver().open("xen+unix:///nowhere?socket=/no/such/socket&password=hunter2")
    assert caught.value.code == "E_CONNECT"
    assert "virsh" in caught.value.hint
    assert "hunter2" not in str(caught.value)
    assert capfd.readouterr().err == ""


def described(
    domain: str = "qemu", *, secure: str = "no", firmware: str = "", tpm: str = "passthrough", loaders: str = ""
) -> str:
    """Domain capabilities, as far as they are read."""
    return f"""<domainCapabilities><path>/usr/bin/no-such-emulator</path><domain>{domain}</domain>
      <os supported='yes'><enum name='firmware'>{firmware}</enum>
        <loader supported='yes'>{loaders}<enum name='secure'><value>{secure}</value></enum></loader></os>
      <devices><tpm supported='yes'><enum name='backendModel'><value>{tpm}</value></enum></tpm></devices>
    </domainCapabilities>"""


def test_a_plain_host() -> None:
    told = interpret(described(), is_local=False)
    assert told.virt_types == ("qemu",)
    assert told.firmware == {FirmwareKind.BIOS}
    assert not told.secure_boot
    assert not told.tpm
    assert told.devices == frozenset()


def test_a_rich_host() -> None:
    told = interpret(described("kvm", secure="yes", firmware="<value>efi</value>", tpm="emulator"), is_local=False)
    assert told.virt_types == ("kvm", "qemu")
    assert told.firmware == frozenset(FirmwareKind)
    assert told.secure_boot
    assert told.tpm


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("OVMF_CODE_4M.fd", "OVMF_CODE_4M.ms.fd"), {528 << 10}),
        (("ovmf-x86_64-4m-code.bin", "OVMF_CODE.4m.fd"), {528 << 10}),
        (("OVMF_CODE_4M.fd", "OVMF_CODE.fd"), set()),
        (("OVMF_CODE_4M.qcow2",), set()),
        ((), set()),
    ],
)
def test_firmware_elsewhere_is_known_by_its_name(names: tuple[str, ...], expected: set[int]) -> None:
    loaders = "".join(f"<value>/usr/share/4m.fd/{name}</value>" for name in names)
    told = interpret(described(loaders=loaders), is_local=False).variables_bytes
    assert set(told.values()) == expected
    assert set(told) in ({("pc", False), ("pc", True), ("q35", False), ("q35", True)}, set())


def test_kvm_that_was_tried_and_failed_is_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: True)
    told = interpret(described("kvm"), is_local=True)
    assert told.virt_types == ("qemu",)


def test_kvm_that_cannot_be_tried_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    told = interpret(described("kvm"), is_local=True)
    assert told.virt_types == ("kvm", "qemu")

"""What the API's faults become."""

from collections.abc import Callable
from http.client import BadStatusLine, RemoteDisconnected, UnknownProtocol
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from virt_ova import SpaceError, TargetError
from virt_ova.target.esx.errors import error_of, translated

EVENTS = "Look at the tasks and events of the host or vCenter."
LICENCE = (
    "This server cannot do that. With a free licence, an ESXi lets no program change anything; "
    "a vApp needs a cluster with DRS, or a single host."
)
NAME = "Choose another name with --name."


@pytest.mark.parametrize(
    ("fault", "code", "hint"),
    [
        (vim.fault.DuplicateName(), "E_EXISTS", NAME),
        (vim.fault.AlreadyExists(), "E_EXISTS", NAME),
        (vim.fault.FileAlreadyExists(), "E_EXISTS", NAME),
        (vim.fault.NoDiskSpace(), "E_SPACE", "Free some space or choose another datastore with --pool."),
        (vmodl.fault.NotSupported(), "E_NOT_SUPPORTED", LICENCE),
        (vim.fault.RestrictedVersion(), "E_NOT_SUPPORTED", LICENCE),
        (vim.fault.InvalidState(), "E_VSPHERE", EVENTS),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_a_fault_has_a_code_and_says_what_to_do(fault: Exception, code: str, hint: str) -> None:
    error = error_of(fault, "making 'web'")
    assert (error.code, error.hint) == (code, hint)
    assert error.message == f"making 'web' failed: {type(fault).__name__.rpartition('.')[2]}"
    assert type(error) is (SpaceError if code == "E_SPACE" else TargetError)


@pytest.mark.parametrize(
    ("exc", "words"),
    [
        (BadStatusLine("<html>\x1b\r\n"), r"its answer begins with '<html>\x1b', expected that of HTTP/1.1"),
        (UnknownProtocol("HTTP/9.9"), "its answer begins with 'HTTP/9.9', expected that of HTTP/1.1"),
        (RemoteDisconnected("Remote end closed connection"), "Remote end closed connection"),
    ],
    ids=["page", "version", "nothing"],
)
def test_who_speaks_no_http_is_told_so(exc: Exception, words: str) -> None:
    error = error_of(exc, "sending 'd.vmdk'")
    assert (error.code, error.message) == ("E_CONNECT", f"sending 'd.vmdk' failed: {words}")


NOTHING: Any = None


@pytest.mark.parametrize(
    ("use", "name"),
    [
        (lambda: NOTHING.config, "config"),
        (lambda: setattr(NOTHING, "uuid", ""), "uuid"),
        (lambda: vim.OvfManager.NetworkMapping(name="lan", network=NOTHING), "network"),
    ],
    ids=["read", "written", "asked"],
)
def test_what_an_answer_leaves_out_is_told(use: Callable[[], object], name: str) -> None:
    with pytest.raises(TargetError) as caught, translated("making 'web'"):
        use()
    assert (caught.value.code, caught.value.message) == (
        "E_VSPHERE",
        f"making 'web' failed: the server's answer makes no sense: nothing is there for '{name}'",
    )
    assert caught.value.hint.startswith("Look at the host's log (hostd.log, vpxd.log); ")


STORE: Any = vim.Datastore("datastore-1")


@pytest.mark.parametrize(
    ("use", "name"),
    [
        (lambda: STORE.childEntity, "childEntity"),
        (lambda: STORE.PowerOnVM_Task(0), "PowerOnVM_Task"),
        (lambda: vim.ImportSpec().vAppConfigSpec, "vAppConfigSpec"),
        (lambda: vim.OvfManager.NetworkMapping(name="lan", network=STORE), "network"),
    ],
    ids=["read", "called", "value", "asked"],
)
def test_what_is_of_another_kind_is_told(use: Callable[[], object], name: str) -> None:
    with pytest.raises(TargetError) as caught, translated("making 'web'"):
        use()
    assert (caught.value.code, caught.value.message) == (
        "E_VSPHERE",
        f"making 'web' failed: the server's answer makes no sense: something of another kind is there for '{name}'",
    )
    assert caught.value.hint.startswith("Look at the host's log (hostd.log, vpxd.log); ")


@pytest.mark.parametrize("bug", [lambda: "".config, lambda: 1 + "", lambda: len(1)])  # type: ignore[attr-defined,operator,arg-type]
def test_a_bug_of_ours_stays_one(bug: Callable[[], object]) -> None:
    with pytest.raises((AttributeError, TypeError)), translated("making 'web'"):
        bug()

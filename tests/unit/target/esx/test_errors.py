"""What the API's faults become."""

from collections.abc import Callable
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


@pytest.mark.parametrize("bug", [lambda: "".config, lambda: 1 + "", lambda: len(1)])  # type: ignore[attr-defined,operator,arg-type]
def test_a_bug_of_ours_stays_one(bug: Callable[[], object]) -> None:
    with pytest.raises((AttributeError, TypeError)), translated("making 'web'"):
        bug()

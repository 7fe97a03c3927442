"""What the API's faults become."""

import pytest
from pyVmomi import vim, vmodl

from virt_ova import SpaceError, TargetError
from virt_ova.target.esx.errors import error_of

EVENTS = "Look at the tasks and events of the host or vCenter."
LICENCE = "This server cannot do that; with a free licence, an ESXi lets no program change anything."
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

"""Install virtual appliances (OVA/OVF packages) on hypervisors: verified, exact, close to the speed of the disk.

    import virt_ova

    with virt_ova.open_package("appliance.ova") as package:
        print(package.disks)
    result = virt_ova.install("appliance.ova", "qemu:///system", options=virt_ova.InstallOptions(name="web"))

Everything public stands in `__all__`; every error is a `VirtOvaError`. Names are loaded when they are first used
(PEP 562), so that the command line answers at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import virt_ova.plan  # noqa: F401 - the layer of this name must be bound before the function below replaces it here

if TYPE_CHECKING:
    from virt_ova.errors import (
        DescriptorError,
        DigestError,
        DiskError,
        PackageError,
        PlanError,
        RollbackError,
        SourceError,
        SpaceError,
        TargetError,
        ToolError,
        VirtOvaError,
    )
    from virt_ova.findings import Finding, Severity
    from virt_ova.package.as_vmx import describe_as_vmx
    from virt_ova.package.package import Package, PackageDisk, PackageFile, open_package
    from virt_ova.package.verify import Signer, Trust, VerifyReport
    from virt_ova.package.writer import WrittenFile
    from virt_ova.plan.host import HostCapabilities
    from virt_ova.plan.machine import Bus, Connection, ConnectionKind, Machine
    from virt_ova.plan.options import InstallOptions, MachineStyle
    from virt_ova.plan.plan import DiskMode, ImageFormat, InstallPlan
    from virt_ova.policy import TrustAnchor, TrustPolicy
    from virt_ova.progress import Monitor
    from virt_ova.stories.convert import ConvertResult, convert
    from virt_ova.stories.export import ExportedDisk, ExportOptions, ExportResult, export
    from virt_ova.stories.install import install, preflight
    from virt_ova.stories.recover import RecoveredInstall, recover
    from virt_ova.stories.result import InstalledDomain, InstalledNetwork, InstalledVolume, InstallResult
    from virt_ova.target.base import BootReport, DiskState, Reach, Screen, ScreenState
    from virt_ova.target.registry import open_target
    from virt_ova.vmx.writer import WrittenVmx

_HOMES: Final = {
    "errors": (
        "DescriptorError DigestError DiskError PackageError PlanError RollbackError SourceError SpaceError "
        "TargetError ToolError VirtOvaError"
    ),
    "findings": "Finding Severity",
    "package.as_vmx": "describe_as_vmx",
    "package.package": "Package PackageDisk PackageFile open_package",
    "package.verify": "Signer Trust VerifyReport",
    "package.writer": "WrittenFile",
    "plan.host": "HostCapabilities",
    "plan.machine": "Bus Connection ConnectionKind Machine",
    "plan.options": "InstallOptions MachineStyle",
    "plan.plan": "DiskMode ImageFormat InstallPlan",
    "policy": "TrustAnchor TrustPolicy",
    "progress": "Monitor",
    "stories.convert": "ConvertResult convert",
    "stories.export": "ExportOptions ExportResult ExportedDisk export",
    "stories.install": "install preflight",
    "stories.recover": "RecoveredInstall recover",
    "stories.result": "InstallResult InstalledDomain InstalledNetwork InstalledVolume",
    "target.base": "BootReport DiskState Reach Screen ScreenState",
    "target.registry": "open_target",
    "vmx.writer": "WrittenVmx",
}
"""The module of every public name but `plan`."""

__all__ = [
    "BootReport",
    "Bus",
    "Connection",
    "ConnectionKind",
    "ConvertResult",
    "DescriptorError",
    "DigestError",
    "DiskError",
    "DiskMode",
    "DiskState",
    "ExportOptions",
    "ExportResult",
    "ExportedDisk",
    "Finding",
    "HostCapabilities",
    "ImageFormat",
    "InstallOptions",
    "InstallPlan",
    "InstallResult",
    "InstalledDomain",
    "InstalledNetwork",
    "InstalledVolume",
    "Machine",
    "MachineStyle",
    "Monitor",
    "Package",
    "PackageDisk",
    "PackageError",
    "PackageFile",
    "PlanError",
    "Reach",
    "RecoveredInstall",
    "RollbackError",
    "Screen",
    "ScreenState",
    "Severity",
    "Signer",
    "SourceError",
    "SpaceError",
    "TargetError",
    "ToolError",
    "Trust",
    "TrustAnchor",
    "TrustPolicy",
    "VerifyReport",
    "VirtOvaError",
    "WrittenFile",
    "WrittenVmx",
    "convert",
    "describe_as_vmx",
    "export",
    "install",
    "open_package",
    "open_target",
    "plan",
    "preflight",
    "recover",
]


def plan(
    package: Package, options: InstallOptions | None = None, *, host: HostCapabilities | None = None
) -> InstallPlan:
    """Decide what an install would do; see `virt_ova.stories.planning.plan_install`."""
    from virt_ova.stories.planning import plan_install  # noqa: PLC0415 - loaded when it is first used

    return plan_install(package, options, host=host)


def __getattr__(name: str) -> Any:  # noqa: ANN401 - as PEP 562 has it; type checkers read the imports above
    for module, names in _HOMES.items():
        if name in names.split():
            return getattr(import_module(f"virt_ova.{module}"), name)
    raise AttributeError(f"module 'virt_ova' has no attribute {name!r}")

"""The machine of a package as a VMX, whatever its descriptor is."""

from __future__ import annotations

from virt_ova.errors import DescriptorError, PackageError
from virt_ova.ovf.envelope import VirtualSystem
from virt_ova.ovf.hardware import choose_hardware, effective_items
from virt_ova.ovf.references import systems_of
from virt_ova.package.package import Package
from virt_ova.text import quoted
from virt_ova.vmx.writer import WrittenVmx, write_vmx

_NEVER_NAMED = frozenset({"E_REF_OUTSIDE", "E_REF_REMOTE"})


def describe_as_vmx(package: Package, *, system: str | None = None, deployment_option: str | None = None) -> WrittenVmx:
    """One machine of `package` as a VMX, whose disks are the package's files.

    Args:
        package: open.
        system: id of the machine; may be None when there is one.
        deployment_option: id of the option whose hardware is written; the package's default when None.

    Raises:
        DescriptorError: which machine is meant is not clear, or there is no such machine (``E_OVF_SYSTEM``); it has no
            hardware (``E_OVF_HARDWARE``); there is no such option (``E_OVF_OPTION``).
        PackageError: a file could lie outside the package (``E_REF_OUTSIDE``, ``E_REF_REMOTE``), and is not named.
    """
    chosen = _choose(package, system)
    hardware = choose_hardware(chosen)
    if hardware is None:
        raise DescriptorError(
            f"system {quoted(chosen.name or chosen.id)} has no VirtualHardwareSection, so there is no machine to write",
            code="E_OVF_HARDWARE",
            where=chosen.where,
        )
    for file in package.files:
        if file.obstacle and file.obstacle.code in _NEVER_NAMED:
            raise PackageError(file.obstacle.message, code=file.obstacle.code, hint=file.obstacle.hint)
    return write_vmx(
        package.envelope,
        chosen,
        hardware,
        effective_items(package.envelope, hardware, deployment_option),
        file_names={file.id: file.listing.name if file.listing else file.name for file in package.files},
    )


def _choose(package: Package, system_id: str | None) -> VirtualSystem:
    systems = tuple(systems_of(package.envelope))
    meant = [each for each in systems if system_id in {None, each.id}]
    if len(meant) == 1:
        return meant[0]
    there = ", ".join(quoted(each.id) for each in systems) or "none"
    if system_id is None:
        found, hint = f"found {len(systems)} machines", "Choose one with --system ID." if systems else ""
    else:
        found, hint = f"found {len(meant)} machines {quoted(system_id)}", ""
    raise DescriptorError(
        f"{found}, expected one of the package's: {there}", code="E_OVF_SYSTEM", where=package.name, hint=hint
    )

"""What must be agreed on before an install begins."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from virt_ova.errors import PlanError
from virt_ova.package.package import Package
from virt_ova.plan.eulas import check_eulas
from virt_ova.plan.options import InstallOptions
from virt_ova.plan.plan import InstallPlan, Transfer
from virt_ova.text import quoted


def check_agreed(package: Package, plan: InstallPlan, options: InstallOptions) -> None:
    """The plan is for this package, whose disks lie on each other as it says, and whose licences are accepted.

    Raises:
        PlanError: it is for another (``E_PLAN_PACKAGE``), they do not (``E_PLAN_SOURCE``), or are not (``E_EULA``).
    """
    found = hashlib.sha256(package.descriptor).hexdigest()
    if plan.package.descriptor_sha256 != found:
        raise PlanError(
            f"the plan was made for {quoted(plan.package.name)}, whose descriptor has the SHA-256 "
            f"{plan.package.descriptor_sha256}, found {found} in {quoted(package.name)}",
            code="E_PLAN_PACKAGE",
            hint="Make the plan again with 'virt-ova plan' from this package.",
        )
    for transfer in plan.transfers:
        _check_parents(package, transfer)
    check_eulas(package.envelope, accepted=options.accept_eulas or plan.eulas_accepted)


def _check_parents(package: Package, transfer: Transfer) -> None:
    """Which disks an image holds the difference to, the package alone says."""
    disks = [disk for disk in package.disks if disk.file_name == transfer.member]
    stated = [tuple(parent.file_name for parent in package.parents_of(disk)) for disk in disks] or [()]
    if transfer.parents not in stated:
        raise PlanError(
            f"the plan says that {quoted(transfer.member)} lies on these files: {_listed(transfer.parents)}, "
            f"expected those of the package: {_listed(stated[0])}",
            code="E_PLAN_SOURCE",
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(quoted, names)) or "none"

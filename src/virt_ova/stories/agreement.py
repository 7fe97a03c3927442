"""What must be agreed on before an install begins."""

from __future__ import annotations

import hashlib

from virt_ova.errors import PlanError
from virt_ova.package.package import Package
from virt_ova.plan.eulas import check_eulas
from virt_ova.plan.options import InstallOptions
from virt_ova.plan.plan import InstallPlan
from virt_ova.text import quoted


def check_agreed(package: Package, plan: InstallPlan, options: InstallOptions) -> None:
    """The plan is for this package, whose licences are accepted.

    Raises:
        PlanError: it is for another (``E_PLAN_PACKAGE``), or they are not (``E_EULA``).
    """
    found = hashlib.sha256(package.descriptor).hexdigest()
    if plan.package.descriptor_sha256 != found:
        raise PlanError(
            f"the plan was made for {quoted(plan.package.name)}, whose descriptor has the SHA-256 "
            f"{plan.package.descriptor_sha256}, found {found} in {quoted(package.name)}",
            code="E_PLAN_PACKAGE",
            hint="Make the plan again with 'virt-ova plan' from this package.",
        )
    check_eulas(package.envelope, accepted=options.accept_eulas or plan.eulas_accepted)

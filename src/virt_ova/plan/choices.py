"""What the user chose, of any plan: whether it fits the package, and what is said of it."""

from __future__ import annotations

from virt_ova.errors import PlanError
from virt_ova.findings import Severity
from virt_ova.ovf.envelope import Envelope
from virt_ova.plan.eulas import eula_texts
from virt_ova.plan.ledger import Ledger
from virt_ova.plan.options import InstallOptions
from virt_ova.plan.plan import CHOOSABLE_MODES, DiskMode, ImageFormat
from virt_ova.plan.properties import chosen_option
from virt_ova.text import quoted


def check_options(envelope: Envelope, options: InstallOptions) -> None:
    """Refuse what does not fit the package, or itself. Raises `PlanError` (``E_OPTION``)."""
    known = [option.id for option in envelope.deployment_options]
    if options.deployment_option is not None and options.deployment_option not in known:
        there = ", ".join(quoted(each) for each in known) or "none"
        raise PlanError(
            f"the package has no deployment option {quoted(options.deployment_option)}, it has: {there}",
            code="E_OPTION",
        )
    if options.disk_mode not in CHOOSABLE_MODES:
        raise PlanError(f"disk mode {options.disk_mode} cannot be chosen", code="E_OPTION")
    makes_qcow2 = options.disk_mode in {DiskMode.TRANSPLANT, DiskMode.LINK}
    if makes_qcow2 and options.image_format not in {None, ImageFormat.QCOW2}:
        raise PlanError(
            f"disk mode {options.disk_mode} makes {ImageFormat.QCOW2} images, not {options.image_format}",
            code="E_OPTION",
            hint="Use --disk-mode expand for raw images.",
        )


def note_choices(envelope: Envelope, options: InstallOptions, ledger: Ledger) -> None:
    """Say what was chosen for the user, and what the user has to agree to."""
    if options.deployment_option is None and len(envelope.deployment_options) > 1:
        others = ", ".join(quoted(each.id) for each in envelope.deployment_options)
        message = f"the deployment option {quoted(chosen_option(envelope, options))} is taken, of {others}"
        ledger.note("OPTION_DEFAULT", Severity.INFO, message)
    if texts := eula_texts(envelope):
        message = f"the package has {len(texts)} licence texts, which must be accepted to install it"
        ledger.note("EULA", Severity.INFO, message)

"""What the user chooses for a package that is open: properties and licences, given or asked for."""

from __future__ import annotations

import argparse
from dataclasses import replace

from virt_ova.cli.properties import given_properties
from virt_ova.cli.questions import ask_eulas, ask_properties, can_ask
from virt_ova.ovf.envelope import Envelope
from virt_ova.plan.eulas import eula_texts
from virt_ova.plan.options import InstallOptions
from virt_ova.plan.plan import InstallPlan
from virt_ova.plan.properties import Asked, check_given, unanswered, walk_entities


def answered(
    options: InstallOptions,
    args: argparse.Namespace,
    envelope: Envelope,
    *,
    is_json: bool,
    plan: InstallPlan | None = None,
) -> InstallOptions:
    """`options` with the properties that were given for the package; on a terminal the rest is asked for.

    Args:
        options: what does not depend on the package.
        args: read by `virt_ova.cli.options.add_install_options`.
        envelope: the package's descriptor.
        is_json: whether a program reads the result, so that nothing is asked.
        plan: one that is to be carried out; then only the passwords that it leaves out are asked for.

    Raises:
        UsageError: an option makes no sense.
        PlanError: a value is refused (``E_PROPERTY``).
    """
    options = replace(options, properties=given_properties(args, envelope))
    check_given(envelope, options.properties)
    if can_ask(is_json=is_json) and (answers := ask_properties(_missing(envelope, options, plan))):
        options = replace(options, properties={**options.properties, **answers})
    return options


def with_licences(
    options: InstallOptions, envelope: Envelope, *, is_json: bool, plan: InstallPlan | None
) -> InstallOptions:
    """`options`; on a terminal licences that were not accepted are shown and asked for."""
    texts = eula_texts(envelope)
    is_settled = not texts or options.accept_eulas or (plan is not None and plan.eulas_accepted)
    if is_settled or not can_ask(is_json=is_json):
        return options
    return replace(options, accept_eulas=ask_eulas(texts))


def _missing(envelope: Envelope, options: InstallOptions, plan: InstallPlan | None) -> list[Asked]:
    if plan is None:
        return list(unanswered(envelope, options))
    known = replace(options, deployment_option=plan.deployment_option or None)
    wanted = {
        (entity.id, setting.key)
        for entity in walk_entities(plan.entities)
        for setting in entity.properties
        if setting.password
    }
    return [each for each in unanswered(envelope, known) if (each.entity_id, each.definition.key) in wanted]

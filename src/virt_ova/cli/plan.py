"""``virt-ova plan``: what an install would do, as JSON that ``install --plan`` takes back."""

from __future__ import annotations

import argparse
import json
from contextlib import closing

from virt_ova.cli.answers import answered
from virt_ova.cli.console import Console, finding_lines, say, told
from virt_ova.cli.options import add_install_options, default_uri, install_options
from virt_ova.cli.parser import add_source
from virt_ova.cli.questions import ask_login, can_ask
from virt_ova.errors import TargetError
from virt_ova.package.package import open_package
from virt_ova.plan.codec import to_json
from virt_ova.plan.host import HostCapabilities
from virt_ova.plan.strict import check_strict
from virt_ova.stories.planning import plan_install
from virt_ova.target.registry import open_target


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See the module."""
    add_source(parser)
    add_install_options(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the plan; what the user should know of it goes to stderr as well."""
    options = install_options(args)
    with open_package(args.source, locale=args.locale) as package:
        options = answered(options, args, package.envelope, is_json=console.is_json)
        plan = plan_install(package, options, host=_host(args, console))
        check_strict((*package.findings, *plan.findings), is_strict=options.strict)
        signed = package.signature_findings
    console.json(json.loads(to_json(plan)))
    for line in finding_lines(told((*signed, *plan.findings))):
        say(line.strip())
    return 0


def _host(args: argparse.Namespace, console: Console) -> HostCapabilities:
    """What the target offers. Where none can be asked and none was named, a host that has everything."""
    uri = args.connect or default_uri()
    try:
        target = open_target(uri, pool=args.pool, ask=ask_login if can_ask(is_json=console.is_json) else None)
    except TargetError as exc:
        if args.connect or args.pool:
            raise
        say(f"note: planned for no particular host: {exc}")
        return HostCapabilities()
    with closing(target):
        return target.capabilities

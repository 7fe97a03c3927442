"""Installing a package: which story it is depends on who makes machines out of packages.

Where the hypervisor does it by itself (`virt_ova.target.importing.Importer`), the package is imported
(`virt_ova.stories.imports`); everywhere else it is built (`virt_ova.stories.building`). Nothing is written before the
target has agreed to the whole plan, and whatever goes wrong, at any point, what this run made is taken back.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from typing import Protocol

from virt_ova.interrupt import held_back
from virt_ova.package.package import Package, PackageSource, open_package
from virt_ova.plan.options import InstallOptions, MachineStyle
from virt_ova.plan.plan import InstallPlan
from virt_ova.progress import Monitor, SilentMonitor
from virt_ova.stories.planning import plan_install
from virt_ova.stories.result import InstalledDomain, InstalledNetwork, InstalledVolume, InstallResult
from virt_ova.target.base import Target
from virt_ova.target.importing import Ask, Importer
from virt_ova.target.registry import open_target

__all__ = [
    "InstallResult",
    "InstalledDomain",
    "InstalledNetwork",
    "InstalledVolume",
    "install",
    "plan_install",
    "preflight",
]


class Run(Protocol):
    """One install of a package on a target."""

    @property
    def plan(self) -> InstallPlan:
        """What is done; `check` completes it."""

    def check(self) -> None:
        """Everything that can be refused before anything is written."""

    def carry_out(self, started: float) -> InstallResult:
        """Check, make, start; take everything back on failure. `started` is when it began (`time.monotonic`)."""


def install(
    source: PackageSource | Package,
    target: str,
    *,
    options: InstallOptions | None = None,
    plan: InstallPlan | None = None,
    monitor: Monitor | None = None,
    ask: Ask | None = None,
) -> InstallResult:
    """Install a package.

    Args:
        source: path of an OVA, an OVF or a folder, http(s) URL, ``-`` for standard input, or an open binary file, which
            need not seek; or an open package, which stays open.
        target: connection URI (``qemu:///system``, ``dir:machines``).
        options: choices; the defaults when None.
        plan: a plan made before, perhaps edited; made now when None.
        monitor: is told of progress.
        ask: asks a person for the user name and the password of a target that needs them and has them from nowhere
            else; None when there is nobody to ask.

    Raises:
        VirtOvaError: it failed, and everything this run made was taken back.
        RollbackError: it failed, and something could not be taken back.
    """
    started = time.monotonic()
    choices = options or InstallOptions()
    with _opened(source) as package, closing(open_target(target, pool=choices.pool, ask=ask)) as connection:
        return _run(package, connection, plan, choices, monitor or SilentMonitor()).carry_out(started)


def preflight(
    source: PackageSource | Package,
    target: str,
    *,
    options: InstallOptions | None = None,
    plan: InstallPlan | None = None,
    ask: Ask | None = None,
) -> InstallPlan:
    """Do all of an install that writes nothing, and return the plan that the target agreed to; raises as `install`."""
    choices = options or InstallOptions()
    with _opened(source) as package, closing(open_target(target, pool=choices.pool, ask=ask)) as connection:
        run = _run(package, connection, plan, choices, SilentMonitor())
        run.check()
    return run.plan


def _opened(source: PackageSource | Package) -> AbstractContextManager[Package]:
    return nullcontext(source) if isinstance(source, Package) else open_package(source)


def _run(
    package: Package,
    connection: Target | Importer,
    plan: InstallPlan | None,
    options: InstallOptions,
    monitor: Monitor,
) -> Run:
    """The run for this kind of target, with its plan: the one given, else a fresh one. Only its story is loaded."""
    if isinstance(connection, Importer):
        with held_back():
            from virt_ova.stories.imports import PackageImport  # noqa: PLC0415
        known = replace(options, deployment_option=plan.deployment_option or None) if plan else options
        fresh = plan_install(package, known, host=connection.capabilities)
        return PackageImport(package, connection, plan or fresh, fresh=fresh, options=options, monitor=monitor)
    with held_back():
        from virt_ova.stories.building import PackageBuild  # noqa: PLC0415
    todo = plan or plan_install(package, options, host=connection.capabilities)
    if plan:  # its hardware is what was wanted, be it edited or not
        options = replace(options, machine=MachineStyle.FAITHFUL)
    return PackageBuild(package, connection, todo, options, monitor)

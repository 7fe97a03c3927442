"""Which driver serves which connection URI.

Drivers are entry points of the group ``virt_ova.targets``; the entry point's name is the URI scheme it serves, and one
driver may have several. ``qemu+ssh`` is ``qemu`` by another road, so only the part before ``+`` counts. A driver is
imported when it is asked for, and one that cannot be imported spoils nothing but itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Final, cast

from virt_ova.errors import TargetError
from virt_ova.interrupt import held_back
from virt_ova.memory import is_lack_of_memory
from virt_ova.paths import is_text
from virt_ova.target.base import Driver, Target
from virt_ova.target.exporting import Exporter, ExportingDriver
from virt_ova.target.importing import Ask, AskingDriver, Importer
from virt_ova.text import printable, quoted, without_secrets

GROUP: Final = "virt_ova.targets"


@dataclass(frozen=True, kw_only=True, slots=True)
class DriverEntry:
    """One driver that is installed.

    Attributes:
        schemes: URI schemes it serves, sorted.
        driver: the driver, or None when it cannot be imported.
        problem: why it cannot be imported; empty when it can.
    """

    schemes: tuple[str, ...]
    driver: Driver | None
    problem: str = ""

    @property
    def exports(self) -> bool:
        """Whether machines can be exported from there."""
        return isinstance(self.driver, ExportingDriver)


def drivers() -> list[DriverEntry]:
    """Every installed driver, in order of its first scheme; also the broken ones."""
    points: dict[str, list[EntryPoint]] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        points.setdefault(point.value, []).append(point)
    return [_entry(same) for same in points.values()]


def open_target(uri: str, *, pool: str | None = None, ask: Ask | None = None) -> Target | Importer:
    """Open the target that `uri` names.

    Args:
        uri: a connection URI; its scheme chooses the driver.
        pool: storage pool; the target's default when None.
        ask: asks a person for a user name and a password; None when there is nobody.

    Raises:
        TargetError: no driver serves the scheme or the driver cannot be used (``E_TARGET``), or the driver refuses.
    """
    driver = _driver(uri)
    if isinstance(driver, AskingDriver):
        return driver.open_asking(uri, pool=pool, ask=ask)
    return driver.open(uri, pool=pool)


def open_exporter(uri: str, *, ask: Ask | None = None) -> Exporter:
    """Open what `uri` names, to export from; arguments and errors as those of `open_target`.

    Raises:
        TargetError: machines cannot be exported from there (``E_NOT_SUPPORTED``).
    """
    driver = _driver(uri)
    if isinstance(driver, ExportingDriver):
        return driver.open_exporter(uri, ask=ask)
    able = ", ".join(f"{name}:" for entry in drivers() if entry.exports for name in entry.schemes)
    raise TargetError(
        f"machines cannot be exported from {quoted(without_secrets(uri))}, "
        f"expected a URI that begins with one of {able}",
        code="E_NOT_SUPPORTED",
        hint="Name the host with --connect; 'virt-ova targets' says from where machines can be exported.",
    )


def _driver(uri: str) -> Driver:
    """The driver that serves `uri`, ready for use. Raises `TargetError` (``E_TARGET``)."""
    if not is_text(uri):
        raise TargetError(
            f"the connection URI {quoted(without_secrets(uri))} has control characters or is not UTF-8",
            code="E_TARGET",
        )
    scheme = scheme_of(uri)
    known = {point.name: point for point in entry_points(group=GROUP)}
    if (point := known.get(scheme)) is None:
        raise TargetError(
            f"no driver installs to {quoted(without_secrets(uri))}, expected a URI that begins with one of "
            + ", ".join(f"{name}:" for name in sorted(known)),
            code="E_TARGET",
            hint="A folder is written dir:PATH, the local hypervisor qemu:///system.",
        )
    entry = _entry([point])
    if entry.driver is None:
        raise TargetError(entry.problem, code="E_TARGET", hint="Reinstall or remove the package that has this driver.")
    if missing := entry.driver.missing():
        raise TargetError(f"the driver {entry.driver.name} cannot be used: {missing}", code="E_TARGET")
    return entry.driver


def scheme_of(uri: str) -> str:
    """The scheme that chooses the driver: what stands before ``:``, without the transport after ``+``."""
    head, colon, _ = uri.partition(":")
    return head.partition("+")[0].lower() if colon else ""


def _entry(points: list[EntryPoint]) -> DriverEntry:
    """The driver that all of `points` name."""
    schemes = tuple(point.name for point in points)
    try:
        with held_back():
            driver = cast("Driver", points[0].load())
    except Exception as exc:
        if is_lack_of_memory(exc):
            raise
        reason = f"{type(exc).__name__}: {printable(str(exc))}"
        problem = f"the driver {quoted(points[0].value)} cannot be loaded: {reason}"
        return DriverEntry(schemes=schemes, driver=None, problem=problem)
    return DriverEntry(schemes=schemes, driver=driver)

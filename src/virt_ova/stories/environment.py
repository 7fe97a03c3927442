"""The CDs that tell machines their properties: made in memory, because they hold passwords and are small.

A password is in the CD's image and nowhere else: not in the plan, not in a file on the way, not in a message.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Final

from virt_ova.disk.iso import iso_image
from virt_ova.interrupt import held_back
from virt_ova.ovf.envelope import Envelope
from virt_ova.ovf.environment import EntityProperties, Platform, environment_xml
from virt_ova.plan.plan import DiskMode, Entity, InstallPlan
from virt_ova.plan.properties import surroundings, with_passwords
from virt_ova.progress import Monitor
from virt_ova.stories.delivery import CreateImage, Image

LABEL: Final = "OVF ENV"
"""Volume label, as VMware writes it; cloud-init looks for it."""

FILE_NAME: Final = "ovf-env.xml"
"""DSP0243 11.2."""


class EnvironmentDiscs:
    """The CDs of one plan."""

    def __init__(self, envelope: Envelope, plan: InstallPlan, values: Mapping[str, str], monitor: Monitor) -> None:
        """Make nothing yet.

        Args:
            envelope: the descriptor.
            plan: says which machines get a CD.
            values: of properties, for the passwords among them.
            monitor: is told of progress.
        """
        self._envelope, self._plan, self._values, self._monitor = envelope, plan, values, monitor
        self._transfers = [transfer for transfer in plan.transfers if transfer.environment]
        self._contents: dict[str, bytes] = {}

    def check(self) -> Mapping[str, int]:
        """Make the images in memory.

        Returns:
            Their sizes in bytes, by transfer id.

        Raises:
            PlanError: a password is not to be had, or a value is refused (``E_PROPERTY``); the plan does not say what a
                machine is told (``E_PLAN_SOURCE``).
        """
        if self._transfers:
            entities = with_passwords(self._plan, self._envelope, self._values)
            self._contents = {each.id: _disc(entities, each.environment) for each in self._transfers}
        return {name: len(content) for name, content in self._contents.items()}

    def fill(self, create: CreateImage) -> Mapping[str, Image]:
        """Make and write every image; `check` comes before. Raises `TargetError`."""
        images = {}
        for transfer in self._transfers:
            content = self._contents[transfer.id]
            step = f"Writing the properties of {transfer.environment}"
            self._monitor.begin(step, len(content))
            sink = create(transfer, len(content), None)
            with held_back():
                sink.write_at(0, [content])
                sink.finish(len(content))
            self._monitor.end(step)
            images[transfer.id] = Image(capacity_bytes=len(content), mode=DiskMode.EXPAND)
        return images


def environment_document(entities: tuple[Entity, ...], machine: str) -> bytes:
    """The OVF environment of `machine`; `entities` have their passwords. Raises `PlanError` (``E_PLAN_SOURCE``)."""
    own, siblings = surroundings(entities, machine)
    platform = Platform(kind="virt-ova", version=version("virt-ova"), vendor="virt-ova")
    return environment_xml(_told(own), map(_told, siblings), platform)


def _disc(entities: tuple[Entity, ...], machine: str) -> bytes:
    """The CD of `machine`."""
    return iso_image(LABEL, FILE_NAME, environment_document(entities, machine))


def _told(entity: Entity) -> EntityProperties:
    return EntityProperties(id=entity.id, values={each.key: each.value or "" for each in entity.properties})

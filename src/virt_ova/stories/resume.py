"""Takes up an install that was killed: its images that are whole are used, all else is made anew.

Only an install of the same plan, from the same package, to the same target is taken up; so what was verified then need
not be read again. An image is used if it has not been written to since it was complete.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from virt_ova.errors import RollbackError, VirtOvaError
from virt_ova.findings import Finding, Severity
from virt_ova.package.package import Package
from virt_ova.plan.codec import to_json
from virt_ova.plan.plan import DiskMode, InstallPlan
from virt_ova.progress import Monitor
from virt_ova.stories.delivery import Image
from virt_ova.stories.logbook import Contents, Heading, Logbook, logbooks
from virt_ova.stories.recover import Undoing
from virt_ova.target.base import Target, Volume
from virt_ova.target.record import Resumable


@dataclass(frozen=True, kw_only=True, slots=True)
class Earlier:
    """What there is of an install that was killed; nothing by default.

    Attributes:
        logbook: its journal, which this install goes on with; None when there is none.
        volumes: images that are whole, by transfer id.
        images: the same, as they are told of.
    """

    logbook: Logbook | None = None
    volumes: Mapping[str, Volume] = field(default_factory=dict)
    images: Mapping[str, Image] = field(default_factory=dict)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """That images were not copied again."""
        names = ", ".join(volume.name for volume in self.volumes.values())
        message = f"these images were whole already, and were used: {names}"
        return (Finding(code="RESUMED", severity=Severity.INFO, message=message),) if names else ()


def package_digest(package: Package, plan: InstallPlan, *, verify: bool) -> str:
    """What two installs have in common that make the same images; empty when that cannot be told.

    That is the plan, and all digests of a manifest that is checked; else what tells that a file was changed.
    """
    words = [to_json(plan)]
    if verify and package.manifest:
        words += sorted(f"{name} {digest.algorithm} {digest.hex}" for name, digest in package.manifest.entries.items())
    else:
        for source in package.archive.sources:
            if (descriptor := source.fileno()) is None:
                return ""
            status = os.fstat(descriptor)
            words.append(f"{status.st_ino} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(words).encode()).hexdigest()


def take_up(target: Target, heading: Heading, plan: InstallPlan, monitor: Monitor) -> Earlier:
    """Find an install like that of `heading` which was killed, and remove what it made but the images that are whole.

    Raises:
        RollbackError: something could not be removed (``E_ROLLBACK``).
        TargetError: the journals cannot be read (``E_JOURNAL``), or the target does not answer.
    """
    if not isinstance(target, Resumable) or not heading.digest:
        return Earlier()
    for path in logbooks():
        if logbook := _claimed(path, heading):
            try:
                return _taken_up(target, logbook, plan, monitor)
            except BaseException:
                logbook.close()
                raise
    return Earlier()


def _claimed(path: Path, heading: Heading) -> Logbook | None:
    """The journal at `path`, if it is of an install like that of `heading`; one that cannot be read is of none."""
    with suppress(VirtOvaError):
        if logbook := Logbook.claim(path):
            with suppress(VirtOvaError):
                if _is_alike(logbook.read(), heading):
                    return logbook
            logbook.close()
    return None


def _is_alike(contents: Contents, heading: Heading) -> bool:
    """Whether a journal is of an install like that of `heading`, which was neither finished nor being undone."""
    found = contents.heading
    if found is None or contents.is_defined or contents.is_undone:
        return False
    return (found.target, found.pool, found.digest) == (heading.target, heading.pool, heading.digest)


def _taken_up(target: Resumable, logbook: Logbook, plan: InstallPlan, monitor: Monitor) -> Earlier:
    target.tell(logbook.note)
    contents = logbook.read()
    records, volumes, images = contents.records, dict[str, Volume](), dict[str, Image]()
    kept = set()
    for transfer in plan.transfers:
        done = contents.completed.get(transfer.id)
        record = done and records.get((done.kind, done.name))
        if done and record and (volume := target.adopt(transfer, record, list(records.values()))):
            volumes[transfer.id] = volume
            images[transfer.id] = Image(capacity_bytes=done.capacity_bytes, mode=DiskMode(done.mode))
            kept.add((done.kind, done.name))
    undoing = Undoing(monitor)
    undoing.remove_all(target, [record for name, record in records.items() if name not in kept])
    if undoing.left:
        left = "; ".join(f"{each.object} ({each.message})" for each in undoing.left)
        raise RollbackError(
            f"of the install that was killed is left: {left}",
            code="E_ROLLBACK",
            hint="Run 'virt-ova recover', or remove what is left by hand: "
            + "; ".join(each.hint for each in undoing.left if each.hint),
        )
    return Earlier(logbook=logbook, volumes=volumes, images=images)

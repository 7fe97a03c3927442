"""The JSON documents of ``inspect``, ``disks`` and ``verify``: their keys are a promise to programs.

Values are what the package says, unescaped, because JSON escapes for itself; messages are escaped already.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from virt_ova.findings import Finding
from virt_ova.ovf import hardware as hw
from virt_ova.ovf.envelope import Envelope, VirtualSystem
from virt_ova.ovf.references import walk
from virt_ova.package.package import Package, PackageDisk
from virt_ova.package.verify import VerifyReport
from virt_ova.plan.properties import Asked, default_of, properties_of

Document = dict[str, Any]
"""A JSON object."""


def inspect_document(package: Package, deployment_option: str | None = None) -> Document:
    """What a package holds.

    Args:
        package: an open package.
        deployment_option: id of the option whose hardware and values are shown; the package's default when None.

    Raises:
        DescriptorError: there is no such option (``E_OVF_OPTION``).
    """
    envelope, entities = package.envelope, tuple(walk(package.envelope.content))
    systems = [entity for entity in entities if isinstance(entity, VirtualSystem)]
    option = hw.default_option(envelope) if deployment_option is None else deployment_option
    descriptor = package.descriptor_member
    return {
        "kind": package.kind,
        "ovf_version": envelope.ovf_version,
        "producer": envelope.producer,
        "descriptor": {"name": descriptor.name, "size": descriptor.size, "offset": descriptor.offset},
        "virtual_systems": [_system(envelope, system, deployment_option) for system in systems],
        "collections": len(entities) - len(systems),
        "files": [
            {"id": file.id, "name": file.name, "size": file.size, "offset": file.offset} for file in package.files
        ],
        "disks": [_disk(disk) for disk in package.disks],
        "networks": [{"name": network.name, "description": network.description} for network in envelope.networks],
        "properties": [_property(each, option) for each in properties_of(envelope)],
        "deployment_options": _deployment_options(envelope),
        "locales": list(envelope.locales),
        "eulas": sum(len(entity.eulas) for entity in entities),
        "transports": _transports(systems),
        "manifest": _manifest(package),
        "certificate": package.certificate_member.name if package.certificate_member else None,
        "findings": [_finding(finding) for finding in (*package.findings, *envelope.findings)],
    }


def disks_document(package: Package) -> Document:
    """The disks: name, size and offset of each in the package."""
    return {"disks": [_disk(disk) for disk in package.disks]}


def verify_document(report: VerifyReport) -> Document:
    """What a verification saw."""
    return {
        "trust": report.trust,
        "signer": asdict(report.signer) if report.signer else None,
        "files": [{"name": file.name, "algorithm": file.algorithm, "ok": file.ok} for file in report.files],
        "findings": [_finding(finding) for finding in report.findings],
    }


def _system(envelope: Envelope, system: VirtualSystem, deployment_option: str | None) -> Document:
    chosen = hw.choose_hardware(system)
    items = hw.effective_items(envelope, chosen, deployment_option) if chosen else ()
    firmware = hw.firmware(chosen) if chosen else hw.FirmwareRequest(kind="bios")
    return {
        "id": system.id,
        "name": system.name,
        "os": {"id": system.os.id, "type": system.os.type},
        "cpus": hw.cpu_count(items),
        "memory_bytes": hw.memory_bytes(items),
        "firmware": firmware.kind,
        "secure_boot": firmware.secure_boot,
        "boot": [{"kind": step.kind, "item": step.instance_id} for step in system.boot],
        "vendor": dict(system.vendor),
        "hardware_types": list(chosen.system_types) if chosen else [],
        "disks": list(hw.disk_ids(items)),
        "nics": [
            {"network": next(iter(nic.connections), ""), "model": next(iter(nic.subtypes), "")}
            for nic in hw.nics(items)
        ],
    }


def _disk(disk: PackageDisk) -> Document:
    return {
        "id": disk.id,
        "file_name": disk.file_name,
        "file_size": disk.file_size,
        "file_offset": disk.file_offset,
        "capacity_bytes": disk.capacity_bytes,
        "format": disk.format,
        "parent": disk.parent_id,
    }


def _property(asked: Asked, option: str) -> Document:
    """A property under a deployment option; the default of a password is a secret, too."""
    prop = asked.definition
    return {
        "entity": asked.entity_id,
        "key": prop.key,
        "type": prop.type,
        "value": None if prop.password else default_of(prop, option),
        "user_configurable": prop.user_configurable,
        "password": prop.password,
    }


def _deployment_options(envelope: Envelope) -> list[Document]:
    default = hw.default_option(envelope)
    return [
        {"id": option.id, "label": option.label, "default": option.id == default}
        for option in envelope.deployment_options
    ]


def _transports(systems: Iterable[VirtualSystem]) -> list[str]:
    hardware = (hw.choose_hardware(system) for system in systems)
    return list(dict.fromkeys(transport for section in hardware if section for transport in section.transports))


def _manifest(package: Package) -> Document | None:
    if package.manifest is None:
        return None
    return {"algorithm": package.manifest.algorithm, "entries": len(package.manifest.entries)}


def _finding(finding: Finding) -> Document:
    return {
        "code": finding.code,
        "severity": finding.severity,
        "message": finding.message,
        "where": finding.where,
    }

"""From the bytes of a descriptor to an `Envelope`.

The story: XML (`xml`), the dialect (`names`), each section to its value (`sections`, `items`, `systems`), then ids and
references (`references`). What would give a wrong machine is an error; what is only odd is a finding.
"""

from __future__ import annotations

from dataclasses import replace

from virt_ova.findings import Severity
from virt_ova.ovf import references, sections, vendor
from virt_ova.ovf.envelope import Envelope
from virt_ova.ovf.names import XML, dialect_of
from virt_ova.ovf.reading import Reading
from virt_ova.ovf.systems import Systems
from virt_ova.ovf.xml import Document, Element, read_document


def read_envelope(data: bytes) -> Envelope:
    """The values of the descriptor `data`.

    Raises:
        DescriptorError: it cannot be read or makes no sense; `where` is the element's path and line. Codes:
            ``E_OVF_LIMIT``, ``E_OVF_ENCODING``, ``E_OVF_DOCTYPE``, ``E_OVF_XML``, ``E_OVF_VERSION``,
            ``E_OVF_VALUE``, ``E_OVF_UNIT``, ``E_OVF_REF``, ``E_NOT_SUPPORTED``.
    """
    document = read_document(data)
    reading = Reading(dialect=dialect_of(document))
    if not document.root.namespace:
        message = f"the envelope has no namespace: taken for OVF {reading.dialect.version}"
        reading.note("OVF_NAMESPACE", message, document.root.where)
    language = document.root.attributes.get((XML, "lang"), "").strip()
    reading.messages, reading.fallback_messages = sections.read_messages(
        reading,
        document.root,
        language or sections.DEFAULT_LANGUAGE,
    )
    envelope = _read_sections(reading, document.root, language)
    envelope = _read_content(reading, document, envelope)
    references.check(reading, envelope)
    return replace(envelope, findings=tuple(reading.findings))


def _read_sections(reading: Reading, root: Element, language: str) -> Envelope:
    """The envelope without its systems."""
    files = [sections.read_file(reading, file) for file in reading.inside(root, "References", "File")]
    options = reading.inside(root, "DeploymentOptionSection", "Configuration")
    return Envelope(
        ovf_version=reading.dialect.version,
        namespace=reading.dialect.namespace,
        language=language,
        files=references.unique_files(reading, files),
        disks=tuple(sections.read_disk(reading, disk) for disk in reading.inside(root, "DiskSection", "Disk")),
        networks=tuple(
            sections.read_network(reading, network) for network in reading.inside(root, "NetworkSection", "Network")
        ),
        deployment_options=tuple(sections.read_option(reading, option) for option in options),
        startup=sections.read_startup(reading, root),
    )


def _read_content(reading: Reading, document: Document, envelope: Envelope) -> Envelope:
    """The envelope with its systems, and what can only be known then."""
    host_paths: dict[str, str] = {}
    if reading.dialect.is_ovirt:
        envelope = vendor.adopt_ovirt_files(envelope)
        host_paths = vendor.ovirt_host_paths(envelope)
    content = Systems(reading, host_paths).read_envelope(document.root)
    if not content:
        message = "the descriptor has no virtual system"
        reading.note("OVF_NO_SYSTEM", message, document.root.where, Severity.ERROR)
    return replace(envelope, content=content, producer=vendor.producer_of(document, envelope, content))

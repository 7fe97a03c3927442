"""From the bytes of a descriptor to an `Envelope`.

The story: XML (`xml`), the dialect (`names`), texts (`messages`), each section to its value (`sections`, `items`,
`systems`), then ids and references (`references`). What would give a wrong machine is an error; what is only odd is a
finding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from virt_ova.errors import DescriptorError
from virt_ova.findings import Severity
from virt_ova.ovf import references, sections, vendor
from virt_ova.ovf.envelope import Envelope
from virt_ova.ovf.messages import (
    DEFAULT_LANGUAGE,
    MAX_BUNDLES,
    Bundle,
    choose_messages,
    read_bundle,
    read_bundle_file,
    speaks,
)
from virt_ova.ovf.names import XML, dialect_of
from virt_ova.ovf.reading import Reading
from virt_ova.ovf.systems import Systems
from virt_ova.ovf.xml import Document, Element, read_document
from virt_ova.text import quoted


def read_envelope(data: bytes, *, locale: str = "", strings: Mapping[str, bytes] | None = None) -> Envelope:
    """The values of the descriptor `data`.

    Args:
        data: the descriptor.
        locale: language of its texts (``de-DE``); its own when empty, or when it has not that one.
        strings: contents of the files that hold message bundles (`Envelope.strings_files`), by ``ovf:id``.

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
    if document.is_misdeclared:
        message = "the descriptor declares UTF-16 and is UTF-8, as XenCenter writes it: read as UTF-8"
        reading.note("OVF_ENCODING", message, document.root.where)
    language = document.root.attributes.get((XML, "lang"), "").strip()
    bundles = _read_bundles(reading, document.root, language or DEFAULT_LANGUAGE, strings or {})
    reading.messages = choose_messages(bundles, language=language or DEFAULT_LANGUAGE, locale=locale)
    if not speaks(reading.messages, locale):
        there = ", ".join(map(quoted, _languages(language, bundles))) or "none"
        message = f"there are no texts in {quoted(locale)}, those there are: {there}"
        reading.note("OVF_LOCALE", message, document.root.where, Severity.INFO)
    envelope = _read_sections(reading, document.root, language)
    envelope = _read_content(reading, document, envelope)
    references.check(reading, envelope)
    return replace(envelope, locales=_languages("", bundles), findings=tuple(reading.findings))


def _read_bundles(reading: Reading, root: Element, language: str, strings: Mapping[str, bytes]) -> list[Bundle]:
    """All message bundles that can be had: those inside the descriptor, then those in files."""
    elements = _strings(reading, root)
    bundles = [read_bundle(element, language) for element in elements]
    for element in elements:
        if not (file_id := reading.attribute(element, "fileRef")):
            continue
        if (content := strings.get(file_id)) is None:
            message = f"the texts in the file {quoted(file_id)} cannot be had: default texts are shown"
            reading.note("OVF_EXTERNAL_STRINGS", message, element.where, Severity.INFO)
            continue
        try:
            bundles.append(read_bundle_file(content, read_bundle(element, language).language))
        except DescriptorError as exc:
            message = f"the texts in the file {quoted(file_id)} are left out: {exc}"
            reading.note("OVF_EXTERNAL_STRINGS", message, element.where)
    return bundles


def _strings(reading: Reading, root: Element) -> list[Element]:
    return list(reading.children(root, "Strings"))[:MAX_BUNDLES]


def _languages(own: str, bundles: Iterable[Bundle]) -> tuple[str, ...]:
    """The envelope's own language, and those of bundles that have texts, each once."""
    return tuple(dict.fromkeys(filter(None, (own, *(bundle.language for bundle in bundles if bundle.texts)))))


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
        strings_files=tuple(filter(None, (reading.attribute(each, "fileRef") for each in _strings(reading, root)))),
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

from __future__ import annotations

import time

import pytest

from tests.unit.ovf.documents import VMW, envelope, only_system, shown, system
from virt_ova.errors import DescriptorError
from virt_ova.findings import Severity
from virt_ova.ovf.envelope import (
    DeploymentOption,
    Disk,
    Envelope,
    File,
    Network,
    OperatingSystem,
    Product,
    Property,
    StartupItem,
    VirtualSystemCollection,
)
from virt_ova.ovf.reader import read_envelope


def read(body: str, attributes: str = "") -> Envelope:
    return read_envelope(envelope(body, attributes=attributes))


def refused(body: str) -> tuple[str, str]:
    with pytest.raises(DescriptorError) as caught:
        read(body)
    return shown(caught.value)


def references(*files: str) -> str:
    return f"<References>{''.join(files)}</References>"


def disks(*found: str) -> str:
    return f"<DiskSection><Info/>{''.join(found)}</DiskSection>"


FILE = '<File ovf:id="f" ovf:href="a.vmdk"/>'


def test_files() -> None:
    found = read(
        references(
            '<File ovf:id="a" ovf:href=" disk.vmdk " ovf:size="7" ovf:compression="GZIP" ovf:chunkSize="5"/>',
            '<File id="b" href="plain"/>',
        ),
    )
    assert found.files == (
        File(id="a", href="disk.vmdk", size_bytes=7, compression="gzip", chunk_bytes=5),
        File(id="b", href="plain"),
    )


@pytest.mark.parametrize("missing", ["id", "href"])
def test_a_file_needs_id_and_href(missing: str) -> None:
    attributes = {"id": "a", "href": "b"} | {missing: ""}
    text = " ".join(f'ovf:{key}="{value}"' for key, value in attributes.items())
    assert refused(references(f"<File {text}/>")) == (
        "E_OVF_VALUE",
        f"Envelope/References/File (line 1): 'File' has no attribute '{missing}', expected one",
    )


def test_a_file_size_below_zero_is_refused() -> None:
    assert refused(references('<File ovf:id="a" ovf:href="b" ovf:size="-1"/>')) == (
        "E_OVF_VALUE",
        "Envelope/References/File (line 1): size: found '-1', expected a whole number up to 2^63-1",
    )


def test_disks() -> None:
    found = read(
        references(FILE)
        + disks(
            '<Disk ovf:diskId="d" ovf:fileRef="f" ovf:capacity="8" ovf:capacityAllocationUnits="byte * 2^30" '
            'ovf:populatedSize="123" ovf:format="urn:vmdk" ovf:shared="true"/>',
            '<Disk ovf:diskId="blank" ovf:parentRef="d" ovf:capacity="512"/>',
            '<Disk ovf:diskId="asked" ovf:capacity="${size}" ovf:capacityAllocationUnits="byte * 2^20"/>',
        ),
    )
    assert found.disks == (
        Disk(
            id="d", file_ref="f", capacity_bytes=8 << 30, populated_bytes=123, format_uri="urn:vmdk", shared=True
        ),
        Disk(id="blank", parent_ref="d", capacity_bytes=512),
        Disk(id="asked", capacity_property="size", capacity_units="byte * 2^20"),
    )  # fmt: skip
    assert [finding.code for finding in found.findings] == ["OVF_NO_SYSTEM"]


def test_a_disk_without_capacity_is_noted() -> None:
    found = read(disks('<Disk ovf:diskId="d"/>') + system())
    assert found.disks[0].capacity_bytes is None
    assert [(f.code, f.message, f.where) for f in found.findings] == [
        (
            "OVF_MISSING_VALUE",
            "the disk has no capacity: it must be taken from the image",
            "Envelope/DiskSection/Disk (line 1)",
        ),
    ]


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ('ovf:capacity="-5"', "found '-5', expected a whole number up to 2^63-1"),
        ('ovf:capacity="1e9"', "found '1e9', expected a whole number up to 2^63-1"),
        ('ovf:capacity="${}"', "found '${}', expected a whole number up to 2^63-1"),
        (
            'ovf:capacity="9" ovf:capacityAllocationUnits="byte * 2^62"',
            "found 9 in units of 'byte * 2^62', expected at most 9223372036854775807 bytes",
        ),
        (
            'ovf:capacity="1" ovf:capacityAllocationUnits="byte * 2^200"',
            "found the unit 'byte * 2^200', expected one of 1 to 2^63-1",
        ),
    ],
)
def test_an_impossible_capacity_is_refused(attributes: str, message: str) -> None:
    assert refused(disks(f'<Disk ovf:diskId="d" {attributes}/>')) == (
        "E_OVF_VALUE",
        f"Envelope/DiskSection/Disk (line 1): capacity: {message}",
    )


def test_an_unknown_unit_is_refused() -> None:
    assert refused(disks('<Disk ovf:diskId="d" ovf:capacity="1" ovf:capacityAllocationUnits="disks"/>')) == (
        "E_OVF_UNIT",
        (
            "Envelope/DiskSection/Disk (line 1): capacity: "
            "found the unit 'disks', expected one like 'byte * 2^20' or 'MegaBytes'"
        ),
    )


def test_an_odd_populated_size_is_only_noted() -> None:
    found = read(disks('<Disk ovf:diskId="d" ovf:capacity="1" ovf:populatedSize="-3"/>') + system())
    assert found.disks[0].populated_bytes is None
    assert [(f.code, f.message) for f in found.findings] == [
        ("OVF_ODD_VALUE", "found the populated size '-3', expected a whole number: ignored"),
    ]


def test_networks() -> None:
    found = read(
        '<NetworkSection><Info/><Network ovf:name="lan"><Description> The LAN </Description></Network>'
        '<Network ovf:name="wan"/></NetworkSection>',
    )
    assert found.networks == (Network(name="lan", description="The LAN"), Network(name="wan"))


def test_deployment_options() -> None:
    found = read(
        '<DeploymentOptionSection><Info/><Configuration ovf:id="small"><Label>Small</Label>'
        '<Description>few</Description></Configuration><Configuration ovf:id="big" ovf:default="TRUE"/>'
        "</DeploymentOptionSection>",
    )
    assert found.deployment_options == (
        DeploymentOption(id="small", label="Small", description="few"),
        DeploymentOption(id="big", default=True),
    )


def product(body: str, attributes: str = "", envelope_attributes: str = "") -> Product:
    text = f"<ProductSection {attributes}><Info/>{body}</ProductSection>"
    (found,) = only_system(read(system(before=text), envelope_attributes)).products
    return found


def test_a_product_says_who_made_it() -> None:
    body = "<Product>P</Product><Vendor>V</Vendor><Version>1</Version><FullVersion>1.2</FullVersion>"
    assert product(body) == Product(name="P", vendor="V", version="1", full_version="1.2")


@pytest.mark.parametrize(
    ("attributes", "key"),
    [
        ("", "ip"),
        ('ovf:class="com.example"', "com.example.ip"),
        ('ovf:instance="2"', "ip.2"),
        ('ovf:class="com.example" ovf:instance="2"', "com.example.ip.2"),
        ('ovf:class="" ovf:instance=""', "ip"),
    ],
)
def test_a_property_key_is_chained(attributes: str, key: str) -> None:
    assert product('<Property ovf:key="ip" ovf:type="string"/>', attributes).properties == (Property(key=key),)


def test_a_property_with_everything() -> None:
    body = (
        '<Property ovf:key="k" ovf:type="uint16" ovf:qualifiers="MinValue(1)" ovf:value=" 5 " '
        'ovf:userConfigurable="true" ovf:password="true"><Label>L</Label><Description>D</Description>'
        '<Value ovf:value="9" ovf:configuration="big"/><Value ovf:value="7"/></Property>'
    )
    assert product(body).properties == (
        Property(
            key="k",
            type="uint16",
            qualifiers="MinValue(1)",
            value=" 5 ",
            option_values={"big": "9"},
            user_configurable=True,
            password=True,
            label="L",
            description="D",
        ),
    )


def test_the_default_value_may_be_an_element() -> None:
    body = (
        '<Property ovf:key="k" ovf:type="string"><Value ovf:value="7"/><Value configuration="a" value="8"/></Property>'
    )
    (found,) = product(body).properties
    assert (found.value, found.option_values) == ("7", {"a": "8"})


def test_vmware_qualifiers_count_besides_those_of_ovf() -> None:
    body = '<Property ovf:key="k" ovf:type="string" vmw:qualifiers="Ip"/>'
    assert product(body, envelope_attributes=VMW).properties[0].qualifiers == "Ip"
    both = body.replace("vmw:", 'ovf:qualifiers="MinLen(7)" vmw:')
    assert product(both, envelope_attributes=VMW).properties[0].qualifiers == "MinLen(7) Ip"


@pytest.mark.parametrize(
    ("attribute", "is_password"),
    [
        ('ovf:password="true"', True),
        ('ovf:isPassword="true"', True),
        ('ovf:password="perhaps"', True),
        ('ovf:password="False"', False),
        ('ovf:password="0"', False),
        ("", False),
    ],
)
def test_in_doubt_a_property_is_a_password(attribute: str, is_password: bool) -> None:  # noqa: FBT001 - a parameter
    assert product(f'<Property ovf:key="k" ovf:type="string" {attribute}/>').properties[0].password is is_password


@pytest.mark.parametrize("kind", ["password", " Password(8..20)"])
def test_a_type_may_say_that_a_property_is_a_password(kind: str) -> None:
    assert product(f'<Property ovf:key="k" ovf:type="{kind}" ovf:password="false"/>').properties[0].password


def test_a_property_without_type_is_a_string_and_noted() -> None:
    found = read(system(before='<ProductSection><Info/><Property ovf:key="k"/></ProductSection>'))
    assert only_system(found).products[0].properties == (Property(key="k"),)
    assert [(f.code, f.message) for f in found.findings] == [
        ("OVF_MISSING_VALUE", "the property 'k' has no type: taken as string"),
    ]


def test_a_property_that_is_there_twice_is_noted() -> None:
    twice = '<Property ovf:key="k" ovf:type="string"/>' * 2
    found = read(system(before=f"<ProductSection><Info/>{twice}</ProductSection>"))
    assert [(f.code, f.message) for f in found.findings] == [("OVF_DUPLICATE", "the property 'k' is there twice")]


def test_licences_and_annotations() -> None:
    before = (
        "<EulaSection><Info/><License>one</License></EulaSection><EulaSection><Info/></EulaSection>"
        "<AnnotationSection><Info/><Annotation>first</Annotation></AnnotationSection>"
        "<AnnotationSection><Info/><Annotation/></AnnotationSection>"
        "<AnnotationSection><Info/><Annotation>second</Annotation></AnnotationSection>"
    )
    found = only_system(read(system(before=before)))
    assert found.eulas == ("one", "")
    assert found.annotation == "first\n\nsecond"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            (
                '<OperatingSystemSection ovf:id="96" ovf:version="12" vmw:osType="debian12_64Guest"><Info/>'
                "<Description>Debian</Description></OperatingSystemSection>"
            ),
            OperatingSystem(id=96, type="debian12_64Guest", description="Debian", version="12"),
        ),
        (
            '<OperatingSystemSection id="96" osType="debian12_64Guest"><Info/></OperatingSystemSection>',
            OperatingSystem(id=96, type="debian12_64Guest"),
        ),
        ("<OperatingSystemSection><Info/></OperatingSystemSection>", OperatingSystem()),
        ("", OperatingSystem()),
    ],
)
def test_the_operating_system(text: str, expected: OperatingSystem) -> None:
    found = read(system(before=text), VMW)
    assert only_system(found).os == expected
    assert found.findings == ()


@pytest.mark.parametrize("odd", ["-100", "123456", "Linux", "٣"])
def test_an_odd_operating_system_id_is_noted(odd: str) -> None:
    found = read(system(before=f'<OperatingSystemSection ovf:id="{odd}"><Info/></OperatingSystemSection>'))
    assert only_system(found).os.id is None
    assert [(f.code, f.severity, f.message) for f in found.findings] == [
        ("OVF_ODD_VALUE", Severity.INFO, f"found the operating system id '{odd}', expected a number: ignored"),
    ]


def test_a_collection_holds_systems_and_collections_in_their_order() -> None:
    found = read(
        '<VirtualSystemCollection ovf:id="outer"><Info>I</Info><Name>Outer</Name>'
        '<StartupSection><Info/><Item ovf:id="a" ovf:order="1" ovf:startDelay="5" ovf:stopDelay="6" '
        'ovf:waitingForGuest="true" ovf:startAction="none" ovf:stopAction="guestShutdown"/><Item ovf:id="inner"/>'
        "</StartupSection>"
        + system(system_id="a")
        + '<VirtualSystemCollection ovf:id="inner"><Info/>'
        + system(system_id="b")
        + "</VirtualSystemCollection></VirtualSystemCollection>",
    )
    (outer,) = found.content
    assert isinstance(outer, VirtualSystemCollection)
    assert (outer.id, outer.name, outer.info) == ("outer", "Outer", "I")
    assert [part.id for part in outer.content] == ["a", "inner"]
    assert outer.where == "Envelope/VirtualSystemCollection (line 1)"
    assert outer.startup == (
        StartupItem(
            system_id="a",
            order=1,
            start_delay=5,
            stop_delay=6,
            wait_for_guest=True,
            start_action="none",
            stop_action="guestShutdown",
        ),
        StartupItem(system_id="inner", order=0),
    )
    inner = outer.content[1]
    assert isinstance(inner, VirtualSystemCollection)
    assert (inner.name, [part.id for part in inner.content]) == ("inner", ["b"])


def test_a_start_order_of_nothing_is_noted() -> None:
    startup = '<StartupSection><Info/><Item ovf:id="ghost" ovf:order="1"/></StartupSection>'
    inside = f'<VirtualSystemCollection ovf:id="c"><Info/>{startup}{system()}</VirtualSystemCollection>'
    assert [(f.code, f.message, f.where) for f in read(inside).findings] == [
        (
            "OVF_REF",
            "the start order names 'ghost', which is not there",
            "Envelope/VirtualSystemCollection (line 1)",
        ),
    ]


def test_odd_items_of_a_start_order_are_noted() -> None:
    items = (
        '<Item ovf:id="vm" ovf:order="1" ovf:startAction="dance" ovf:stopAction="suspend"/>'
        '<Item ovf:id="vm" ovf:order="2" ovf:startAction="NONE" ovf:stopAction="poweroff"/>'
    )
    inside = (
        f'<VirtualSystemCollection ovf:id="c"><Info/><StartupSection><Info/>{items}</StartupSection>'
        f"{system(system_id='vm')}</VirtualSystemCollection>"
    )
    found = read(inside)
    assert [(f.code, f.severity, f.message) for f in found.findings] == [
        ("OVF_ODD_VALUE", Severity.WARNING, "found the startAction 'dance': taken as powerOn"),
        ("OVF_ODD_VALUE", Severity.WARNING, "found the stopAction 'suspend': taken as powerOff"),
        ("OVF_DUPLICATE", Severity.WARNING, "the start order names 'vm' twice: the first counts"),
    ]
    (outer,) = found.content
    assert isinstance(outer, VirtualSystemCollection)
    assert [(item.start_action, item.stop_action) for item in outer.startup] == [
        ("powerOn", "powerOff"),
        ("none", "powerOff"),
    ]


def test_a_system_needs_an_id() -> None:
    assert refused("<VirtualSystem><Info/></VirtualSystem>") == (
        "E_OVF_VALUE",
        "Envelope/VirtualSystem (line 1): 'VirtualSystem' has no attribute 'id', expected one",
    )


def test_no_system_and_no_hardware_are_noted() -> None:
    assert [(f.code, f.severity, f.message) for f in read("<References/>").findings] == [
        ("OVF_NO_SYSTEM", Severity.ERROR, "the descriptor has no virtual system"),
    ]
    found = read('<VirtualSystem ovf:id="vm"><Info>i</Info><Name>n</Name></VirtualSystem>')
    assert [(f.code, f.severity, f.message) for f in found.findings] == [
        ("OVF_NO_HARDWARE", Severity.WARNING, "the system has no virtual hardware"),
    ]
    only = only_system(found)
    assert (only.id, only.name, only.info, only.where) == ("vm", "n", "i", "Envelope/VirtualSystem (line 1)")


@pytest.mark.parametrize(
    ("attributes", "severity", "kind"),
    [
        ("", Severity.WARNING, "required"),
        ('ovf:required="true"', Severity.WARNING, "required"),
        ('ovf:required="false"', Severity.INFO, "optional"),
    ],
)
def test_unknown_sections_are_noted_wherever_they_stand(attributes: str, severity: Severity, kind: str) -> None:
    odd = f'<x:FooSection xmlns:x="urn:x" {attributes}><Info/></x:FooSection>'
    message = f"the {kind} 'FooSection' of namespace 'urn:x' is not understood here: ignored"
    for body, where in (
        (odd + system(), "Envelope/FooSection (line 1)"),
        (system(before=odd), "Envelope/VirtualSystem/FooSection (line 1)"),
        (
            f'<VirtualSystemCollection ovf:id="c"><Info/>{odd}{system()}</VirtualSystemCollection>',
            "Envelope/VirtualSystemCollection/FooSection (line 1)",
        ),
    ):
        assert [(f.code, f.severity, f.message, f.where) for f in read(body).findings] == [
            ("OVF_UNKNOWN_SECTION", severity, message, where),
        ]


def test_a_known_section_in_the_wrong_place_is_noted() -> None:
    found = read(system(before='<NetworkSection><Info/><Network ovf:name="n"/></NetworkSection>'))
    assert found.networks == ()
    assert [f.code for f in found.findings] == ["OVF_UNKNOWN_SECTION"]


def test_an_encrypted_section_is_refused() -> None:
    assert refused('<x:EncryptedData xmlns:x="http://www.w3.org/2001/04/xmlenc#"/>') == (
        "E_NOT_SUPPORTED",
        "Envelope/EncryptedData (line 1): the section is encrypted, which is not supported",
    )


def test_an_odd_boolean_is_noted_and_the_default_holds() -> None:
    found = read(disks('<Disk ovf:diskId="d" ovf:capacity="1" ovf:shared="maybe"/>') + system())
    assert found.disks[0].shared is False
    assert [(f.code, f.message, f.where) for f in found.findings] == [
        (
            "OVF_ODD_VALUE",
            "found 'maybe', expected true or false: ignored",
            "Envelope/DiskSection/Disk (line 1): shared",
        ),
    ]


MESSAGES = (
    '<Strings xml:lang="de-DE"><Msg ovf:msgid="net">Netz</Msg><Msg ovf:msgid="only">nur</Msg></Strings>'
    '<Strings xml:lang="en-US"><Msg ovf:msgid="net">Network</Msg></Strings>'
    '<Strings ovf:fileRef="f"/>'
)


@pytest.mark.parametrize(
    ("language", "element", "expected"),
    [
        ("", '<Description ovf:msgid="net">own</Description>', "Network"),
        ('xml:lang="DE-de"', '<Description ovf:msgid="net">own</Description>', "Netz"),
        ('xml:lang="fr"', '<Description ovf:msgid="net">own</Description>', "own"),
        ("", '<Description ovf:msgid="only">own</Description>', "own"),
        ("", '<Description ovf:msgid="only"/>', "nur"),
        ("", '<Description msgid="none"/>', ""),
    ],
)
def test_messages_are_those_of_the_default_language(language: str, element: str, expected: str) -> None:
    body = (
        references(FILE)
        + f'<NetworkSection><Info/><Network ovf:name="n">{element}</Network></NetworkSection>'
        + system()
        + MESSAGES
    )
    found = read(body, language)
    assert found.networks[0].description == expected
    assert [(f.code, f.severity, f.message) for f in found.findings] == [
        (
            "OVF_EXTERNAL_STRINGS",
            Severity.INFO,
            "the texts in the file 'f' cannot be had: default texts are shown",
        ),
    ]


DANISH = (
    b'<Strings xml:lang="da-DK"><Msg ovf:msgid="net" xmlns:ovf="urn:x">Net</Msg><Msg msgid="only">kun</Msg></Strings>'
)


def network_text(locale: str, *, own: str = "own", strings: dict[str, bytes] | None = None) -> str:
    body = (
        references(FILE)
        + f'<NetworkSection><Info/><Network ovf:name="n"><Description ovf:msgid="net">{own}</Description></Network>'
        + "</NetworkSection>"
        + system()
        + MESSAGES
    )
    return read_envelope(envelope(body), locale=locale, strings=strings).networks[0].description


@pytest.mark.parametrize(
    ("locale", "expected"),
    [
        ("", "Network"),
        ("de-DE", "Netz"),
        ("de_DE.UTF-8", "Netz"),
        ("de", "Netz"),
        ("de-AT", "Netz"),
        ("da-DK", "Net"),
        ("fr-FR", "Network"),
        ("en-GB", "Network"),
    ],
)
def test_texts_are_in_the_language_that_is_asked_for(locale: str, expected: str) -> None:
    assert network_text(locale, strings={"f": DANISH}) == expected


def test_a_text_that_the_language_has_not_is_that_of_the_envelope() -> None:
    body = references(FILE) + '<NetworkSection><Info/><Network ovf:name="n"><Description ovf:msgid="only">own'
    body += "</Description></Network></NetworkSection>" + system() + MESSAGES
    for locale, expected in (("da", "kun"), ("en-US", "own"), ("de", "nur"), ("fr", "own")):
        found = read_envelope(envelope(body), locale=locale, strings={"f": DANISH})
        assert found.networks[0].description == expected, locale


def test_languages_are_listed_and_a_missing_one_is_noted() -> None:
    found = read_envelope(envelope(references(FILE) + system() + MESSAGES), locale="fr", strings={"f": DANISH})
    assert (found.locales, found.strings_files) == (("de-DE", "en-US", "da-DK"), ("f",))
    assert [(f.code, f.severity, f.message, f.where) for f in found.findings] == [
        (
            "OVF_LOCALE",
            Severity.INFO,
            "there are no texts in 'fr', those there are: 'de-DE', 'en-US', 'da-DK'",
            "Envelope (line 1)",
        ),
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"<Strings", "the descriptor is not well-formed XML: unclosed token at line 1, column 1"),
        (b"<Texts/>", "Texts (line 1): found the root element 'Texts', expected Strings"),
    ],
)
def test_texts_that_cannot_be_read_are_left_out(content: bytes, problem: str) -> None:
    found = read_envelope(envelope(references(FILE) + system() + MESSAGES), strings={"f": content})
    assert [(f.code, f.severity, f.message, f.where) for f in found.findings] == [
        (
            "OVF_EXTERNAL_STRINGS",
            Severity.WARNING,
            f"the texts in the file 'f' are left out: {problem}",
            "Envelope/Strings (line 1)",
        ),
    ]


def test_what_stands_in_the_descriptor_wins_over_a_file_of_the_same_language() -> None:
    german = b'<Strings xml:lang="de-DE"><Msg msgid="net">Netz aus der Datei</Msg></Strings>'
    assert network_text("de", strings={"f": german}) == "Netz"


def test_a_licence_without_its_text_is_a_licence() -> None:
    found = read(system(before='<EulaSection><Info/><License ovf:msgid="eula"/></EulaSection>'))
    assert only_system(found).eulas == ("(the text of the licence 'eula' is not to be had)",)


def test_the_language_of_the_envelope() -> None:
    assert read(system(), 'xml:lang="en-US"').language == "en-US"
    assert read(system()).language == ""


def test_licences_beside_the_systems_hold_for_each() -> None:
    body = (
        "<EulaSection><Info/><License>L</License></EulaSection>"
        "<ProductSection><Info/><Product>P</Product></ProductSection>"
    )
    found = read(body + system(system_id="a") + system(system_id="b"))
    assert [(entity.eulas, entity.products) for entity in found.content] == [(("L",), (Product(name="P"),))] * 2


def test_a_descriptor_of_four_mebibytes_is_read_in_a_second() -> None:
    value = "v" * 1150
    properties = "".join(
        f'<Property ovf:key="k{number}" ovf:type="string" ovf:userConfigurable="true" ovf:value="{value}">'
        f"<Label>{number}</Label><Description/></Property>"
        for number in range(3_200)
    )
    data = envelope(system(before=f"<ProductSection><Info/>{properties}</ProductSection>"))
    assert 4_000_000 < len(data) < 4 << 20
    started = time.process_time()
    read = read_envelope(data)
    assert time.process_time() - started < 1
    assert len(only_system(read).products[0].properties) == 3_200

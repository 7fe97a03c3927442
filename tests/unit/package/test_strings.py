"""Texts of the descriptor that lie in files of the package."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tests.build.ova import build_folder, build_ova, manifest_for, with_manifest
from tests.build.pipes import Pipe
from tests.build.small import edited, small_members
from virt_ova.errors import DigestError
from virt_ova.ovf.messages import MAX_BUNDLE_BYTES
from virt_ova.package.package import Package, open_package
from virt_ova.package.verify import Trust

GERMAN = b'<Strings xml:lang="de-DE"><Msg msgid="name">Rechner</Msg><Msg msgid="eula">Lizenz</Msg></Strings>'


def members(strings: bytes = GERMAN, attributes: str = "") -> list[tuple[str, bytes]]:
    """A small package whose machine has its name, and a licence, from a file of texts."""
    plain = small_members()
    file = f'<File ovf:id="texts" ovf:href="de.xml" ovf:size="{len(strings)}" {attributes}/></References>'
    named = edited(plain, "</References>", file)
    named = edited(named, "<Name>vm</Name>", '<Name ovf:msgid="name">vm</Name>')
    licence = '<EulaSection><Info/><License ovf:msgid="eula"/></EulaSection></VirtualSystem>'
    named = edited(named, "</VirtualSystem>", licence)
    return [*edited(named, "</Envelope>", '<Strings ovf:fileRef="texts"/></Envelope>'), ("de.xml", strings)]


def told(package: Package) -> tuple[str, tuple[str, ...]]:
    (system,) = package.envelope.content
    return system.name, system.eulas


@pytest.mark.parametrize("locale", ["de-DE", "de"])
@pytest.mark.parametrize("kind", ["ova", "folder"])
def test_a_file_of_texts_is_read(tmp_path: Path, locale: str, kind: str) -> None:
    make = build_ova if kind == "ova" else build_folder
    with open_package(make(tmp_path / f"a.{kind}", with_manifest(members())), locale=locale) as package:
        assert told(package) == ("Rechner", ("Lizenz",))
        assert dict(package.strings) == {"de.xml": GERMAN}
        assert package.check_manifest().trust is Trust.DIGESTS
        assert package.envelope.findings == ()


def test_its_own_language_is_shown_when_none_is_asked_for(tmp_path: Path) -> None:
    with open_package(build_ova(tmp_path / "a.ova", members())) as package:
        assert told(package) == ("vm", ("Lizenz",))
        assert package.envelope.locales == ("de-DE",)


def test_texts_are_those_of_the_manifest(tmp_path: Path) -> None:
    whole = members()
    forged = [*whole[:-1], ("de.xml", GERMAN.replace(b"Lizenz", b"nichts"))]
    path = build_ova(tmp_path / "a.ova", [forged[0], ("a.mf", manifest_for(whole)), *forged[1:]])
    with open_package(path) as package, pytest.raises(DigestError, match=r"^the SHA256 of 'de\.xml' is ") as caught:
        package.check_manifest()
    assert caught.value.code == "E_DIGEST"


@pytest.mark.parametrize(
    ("strings", "attributes"),
    [
        (b" " * (MAX_BUNDLE_BYTES + 1), ""),
        (GERMAN, 'ovf:compression="gzip"'),
    ],
)
def test_what_is_too_long_or_compressed_is_left_out(tmp_path: Path, strings: bytes, attributes: str) -> None:
    with open_package(build_ova(tmp_path / "a.ova", members(strings, attributes)), locale="de") as package:
        assert told(package) == ("vm", ("(the text of the licence 'eula' is not to be had)",))
        assert [finding.code for finding in package.envelope.findings] == ["OVF_EXTERNAL_STRINGS", "OVF_LOCALE"]
        assert package.strings == {}


def test_a_missing_file_is_no_obstacle(tmp_path: Path) -> None:
    with open_package(build_ova(tmp_path / "a.ova", members()[:-1])) as package:
        assert [finding.message for finding in package.envelope.findings] == [
            "the texts in the file 'texts' cannot be had: default texts are shown"
        ]


def test_a_pipe_knows_no_texts_that_have_not_come(tmp_path: Path) -> None:
    data = build_ova(tmp_path / "a.ova", with_manifest(members())).read_bytes()
    with open_package(io.BufferedReader(Pipe(data)), locale="de") as package:
        assert told(package) == ("vm", ("(the text of the licence 'eula' is not to be had)",))
        beginning = "only what stands before 'a1.vmdk' was read, as the package can be read once only"
        assert [finding.message for finding in (*package.findings, *package.envelope.findings)] == [
            f"{beginning}: save it to a file to see the rest",
            "the texts in the file 'texts' cannot be had: default texts are shown",
            "there are no texts in 'de', those there are: none",
        ]

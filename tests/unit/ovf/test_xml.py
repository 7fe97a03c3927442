from __future__ import annotations

import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virt_ova.errors import DescriptorError
from virt_ova.ovf.xml import MAX_ATTRIBUTES, MAX_BYTES, MAX_DEPTH, MAX_ELEMENTS, Element, read_document

BILLION_LAUGHS = (
    b'<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">'
    b'<!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;">]><a>&d;&d;</a>'
)


def refused(data: bytes) -> DescriptorError:
    with pytest.raises(DescriptorError) as caught:
        read_document(data)
    return caught.value


def test_the_tree_knows_names_attributes_texts_and_lines() -> None:
    document = read_document(b'<a xmlns="urn:x" xmlns:y="urn:y">\n one<y:b y:k="1" k="2"/>\n two</a>')
    root = document.root
    (child,) = root.children
    assert (root.namespace, root.name, root.line, root.parent) == ("urn:x", "a", 1, None)
    assert root.text == "\n one\n two"
    assert (child.namespace, child.name, child.line, child.parent) == ("urn:y", "b", 2, root)
    assert child.attributes == {("urn:y", "k"): "1", ("", "k"): "2"}
    assert child.where == "a/b (line 2)"
    assert document.namespaces == {"urn:x", "urn:y"}


def test_a_namespace_may_hold_a_blank() -> None:
    assert read_document(b'<a xmlns="urn:with blank"/>').root.namespace == "urn:with blank"


def test_a_namespace_may_be_taken_back() -> None:
    (child,) = read_document(b'<a xmlns="urn:x"><b xmlns=""/></a>').root.children
    assert (child.namespace, child.name) == ("", "b")


def test_names_are_escaped_and_cut_in_paths() -> None:
    root = Element(namespace="", name="x" * 500, attributes={}, line=7, parent=None)
    assert root.where == "x" * 199 + "… (line 7)"


@pytest.mark.parametrize(
    "data",
    [
        b"<a>\xc3\xa4</a>",
        b"\xef\xbb\xbf<a>\xc3\xa4</a>",
        b'<?xml version="1.0" encoding="UTF-8"?><a>\xc3\xa4</a>',
        b"<?xml version='1.0' encoding='utf-8'?><a>\xc3\xa4</a>",
        '<?xml version="1.0" encoding="UTF-16"?><a>ä</a>'.encode("utf-16"),
        b"\xfe\xff" + "<a>ä</a>".encode("utf-16-be"),
        b'<?xml version="1.0" encoding="us-ascii"?><a>&#228;</a>',
    ],
)
def test_utf_8_and_marked_utf_16_are_read(data: bytes) -> None:
    assert read_document(data).root.text == "ä"


@pytest.mark.parametrize("encoding", ["utf-16", "UTF-16"])
def test_utf_8_may_call_itself_utf_16(encoding: str) -> None:
    document = read_document(f'<?xml version="1.0" encoding="{encoding}"?><a>\u00e4</a>'.encode())
    assert (document.root.text, document.is_misdeclared) == ("\u00e4", True)


@pytest.mark.parametrize("data", [b"<a/>", b'<?xml version="1.0" encoding="utf-8"?><a/>', "<a/>".encode("utf-16")])
def test_what_tells_the_truth_is_not_misdeclared(data: bytes) -> None:
    assert not read_document(data).is_misdeclared


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"<a>\xe4</a>", "byte 3 of the descriptor is not UTF-8 (invalid continuation byte)"),
        (b"\x1f\x8b\x08\x00", "byte 1 of the descriptor is not UTF-8 (invalid start byte)"),
        (b"\xff\xfe<\0a\0>\0\xd8", "byte 8 of the descriptor is not UTF-16 (truncated data)"),
        ("<a/>".encode("utf-16-le"), "character 1 of the descriptor is a NUL, which XML does not have"),
        ("<a/>".encode("utf-32"), "character 0 of the descriptor is a NUL, which XML does not have"),
        (
            '<?xml version="1.0" encoding="UTF-8"?><a/>'.encode("utf-16"),
            "the descriptor declares the encoding 'UTF-8' but has UTF-16",
        ),
        (
            b'<?xml version="1.0" encoding="ISO-8859-1"?><a/>',
            "the descriptor declares the encoding 'ISO-8859-1' but has no byte order mark",
        ),
        (
            b'<?xml version="1.0" encoding="UTF-7"?>+ADw-a/>',
            "the descriptor declares the encoding 'UTF-7' but has no byte order mark",
        ),
        ("<?xml version='1.0'?><a/>".encode("cp037"), "byte 2 of the descriptor is not UTF-8 (invalid start byte)"),
    ],
)
def test_other_encodings_and_false_declarations_are_refused(data: bytes, message: str) -> None:
    error = refused(data)
    assert error.code == "E_OVF_ENCODING"
    assert str(error) == f"{message}; expected UTF-8, or UTF-16 with a byte order mark"


@pytest.mark.parametrize(
    "data",
    [
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        b'<!DOCTYPE a [<!ENTITY % p SYSTEM "http://127.0.0.1/x.dtd"> %p;]><a/>',
        '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///x">]><a/>'.encode("utf-16"),
        BILLION_LAUGHS,
    ],
)
def test_a_doctype_is_refused_before_its_content_counts(data: bytes) -> None:
    error = refused(data)
    assert (error.code, str(error)) == ("E_OVF_DOCTYPE", "the descriptor has a DOCTYPE at line 1, expected none")


def test_xinclude_is_ordinary_text() -> None:
    root = read_document(b'<a xmlns:i="http://www.w3.org/2001/XInclude"><i:include href="/etc/passwd"/></a>').root
    assert root.text == ""
    assert [child.name for child in root.children] == ["include"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no element found at line 1, column 1"),
        (b"<a>\n <b></a>", "mismatched tag at line 2, column 7"),
        (b"<a>\n<vmw:b/></a>", "unbound prefix at line 2, column 1"),
        (b"<a>&x;</a>", "undefined entity at line 1, column 4"),
        (b"<a/><b/>", "junk after document element at line 1, column 5"),
        (b'<a k="1" k="2"/>', "duplicate attribute at line 1, column 10"),
    ],
)
def test_what_is_not_well_formed_is_refused_with_its_place(data: bytes, message: str) -> None:
    error = refused(data)
    assert error.code == "E_OVF_XML"
    assert str(error) == f"the descriptor is not well-formed XML: {message}"


def test_a_large_descriptor_is_read_and_a_larger_one_refused() -> None:
    head, tail = b"<a><b>", b"</b></a>"
    data = head + b"x" * (MAX_BYTES - len(head) - len(tail)) + tail
    started = time.process_time()
    assert len(read_document(data).root.children[0].text) == MAX_BYTES - 14
    assert time.process_time() - started < 1
    error = refused(data + b"\n")
    assert (error.code, str(error)) == (
        "E_OVF_LIMIT",
        "the descriptor has 4194305 bytes, expected at most 4194304",
    )


def test_depth_is_limited() -> None:
    assert read_document(b"<a>" * MAX_DEPTH + b"</a>" * MAX_DEPTH).root.name == "a"
    error = refused(b"<a>" * 1_000_000)
    assert (error.code, str(error)) == ("E_OVF_LIMIT", "line 1: elements are nested more than 64 deep")


def test_the_number_of_elements_is_limited() -> None:
    assert len(read_document(b"<a>" + b"<b/>" * (MAX_ELEMENTS - 1) + b"</a>").root.children) == MAX_ELEMENTS - 1
    error = refused(b"<a>\n" + b"<b/>" * MAX_ELEMENTS + b"</a>")
    assert (error.code, str(error)) == ("E_OVF_LIMIT", "line 2: the descriptor has more than 100000 elements")


@pytest.mark.parametrize("prefix", [b"a", b"xmlns:a"])
def test_attributes_and_namespaces_are_limited(prefix: bytes) -> None:
    error = refused(b"<a " + b" ".join(prefix + b'%d="u"' % i for i in range(MAX_ATTRIBUTES + 1)) + b"/>")
    assert error.code == "E_OVF_LIMIT"
    assert str(error) == "the descriptor has 100001 equal signs, expected at most 100000"


@pytest.mark.parametrize(
    "expression",
    [
        'b"<a>" * 1_398_101',
        'b"<a>" + b"<b/>" * 1_000_000 + b"</a>"',
        """b"<a " + b" ".join(b'a%d=""' % i for i in range(99_999)) + b"/>" """,
        "BILLION_LAUGHS",
        """b"<a>" + b"<b k='v'>text</b>" * 99_000 + b"x" * 2_000_000 + b"</a>" """,
    ],
)
def test_memory_stays_bounded(expression: str) -> None:
    program = (
        "import resource\n"
        "from virt_ova.errors import DescriptorError\n"
        "from virt_ova.ovf.xml import read_document\n"
        f"BILLION_LAUGHS = {BILLION_LAUGHS!r}\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        f"data = {expression}\n"
        "try:\n    read_document(data)\nexcept DescriptorError:\n    pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert int(done.stdout) < 64 * 1024, "KiB above the interpreter's own"


def outcome(data: bytes) -> str:
    try:
        read_document(data)
    except DescriptorError as error:
        return error.code
    return "ok"


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    assert outcome(data) in {"ok", "E_OVF_XML", "E_OVF_ENCODING", "E_OVF_DOCTYPE"}


@given(st.text(alphabet="<>/a=\"'&;![]- \n?x", max_size=60))
def test_any_markup_is_read_or_refused(text: str) -> None:
    assert outcome(f"<a>{text}</a>".encode()) in {"ok", "E_OVF_XML"}

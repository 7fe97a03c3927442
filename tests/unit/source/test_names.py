import pytest

from virt_ova.errors import SourceError
from virt_ova.source.names import check_member_name, duplicate_key, is_apple_double


@pytest.mark.parametrize("name", ["a.ovf", "disks/a.vmdk", "-rf", "é.vmdk", "a b.vmdk", "x" * 255, "..a", "a..b/c"])
def test_plain_names_pass(name: str) -> None:
    assert check_member_name(name) == name


def test_one_leading_dot_slash_is_dropped() -> None:
    assert check_member_name("./a.ovf") == "a.ovf"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "is empty"),
        ("./", "is empty"),
        ("\udc80a", "is not valid Unicode"),
        ("x" * 256, "is longer than 255 bytes"),
        ("é" * 128, "is longer than 255 bytes"),
        ("a\nb", "holds a control character"),
        ("a\0", "holds a control character"),
        ("a\x85", "holds a control character"),
        ("a\u2028b", "holds a control character"),
        ("C:\\x", "holds a backslash or a colon"),
        ("\\\\srv\\x", "holds a backslash or a colon"),
        ("c:x", "holds a backslash or a colon"),
        ("/etc/x", "is absolute"),
        (".//etc/x", "is absolute"),
        ("../../etc/cron.d/x", "has a part that is empty, '.' or '..'"),
        ("a/../b", "has a part that is empty, '.' or '..'"),
        ("././a", "has a part that is empty, '.' or '..'"),
        (".", "has a part that is empty, '.' or '..'"),
        ("a//b", "has a part that is empty, '.' or '..'"),
        ("a/", "has a part that is empty, '.' or '..'"),
    ],
)
def test_names_that_could_leave_a_folder_are_refused(name: str, problem: str) -> None:
    with pytest.raises(SourceError) as caught:
        check_member_name(name)
    assert caught.value.code == "E_TAR_NAME"
    assert f"which {problem}; expected a plain name such as 'disk1.vmdk'" in caught.value.message
    assert len(caught.value.message) < 400
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    ("one", "other"), [("a.vmdk", "A.VMDK"), ("\u00e9", "e\u0301"), ("\u00c9", "e\u0301"), ("straße", "STRASSE")]
)
def test_names_that_a_file_system_may_confuse_share_a_key(one: str, other: str) -> None:
    assert duplicate_key(check_member_name(one)) == duplicate_key(check_member_name(other))


def test_different_names_have_different_keys() -> None:
    assert duplicate_key(check_member_name("a")) != duplicate_key(check_member_name("b"))


@pytest.mark.parametrize(("name", "expected"), [("._a.ovf", True), ("d/._a", True), ("a._b", False), ("._d/a", False)])
def test_apple_double_files_are_known_by_their_name(name: str, *, expected: bool) -> None:
    assert is_apple_double(name) is expected

"""The text of a VMX."""

from __future__ import annotations

import pytest

from virt_ova.errors import DescriptorError
from virt_ova.vmx.settings import MAX_BYTES, format_settings, read_settings


def refusal(data: bytes) -> tuple[str, str]:
    with pytest.raises(DescriptorError) as caught:
        read_settings(data)
    return caught.value.code, str(caught.value)


class TestLines:
    def test_comments_blank_lines_and_any_line_end(self) -> None:
        settings = read_settings(b'#!/usr/bin/vmware\r\n\r\n  a = "1"\r# more\nB.c="2" \n\td  =  ""')
        assert [settings.text(key) for key in ("a", "b.c", "d", "e")] == ["1", "2", "", ""]
        assert ("A" in settings, "D" in settings, "e" in settings) == (True, True, False)

    def test_what_nobody_asked_for_is_known(self) -> None:
        settings = read_settings(b'One = "1"\nTwo = "2"\nThree = "3"\n')
        settings.text("TWO")
        assert settings.unasked == ("One", "Three")

    @pytest.mark.parametrize(
        "line",
        ["a = 1", 'a = "1', 'a "1"', '= "1"', 'a = "1" b', 'a = "1"2"', "a", 'a b = "1"', 'a|b = "1"', "a = '1'"],
    )
    def test_a_line_of_another_form(self, line: str) -> None:
        found = refusal(f'x = "1"\n{line}\n'.encode())
        assert found == ("E_VMX_SYNTAX", f"line 2: found '{line}', expected key = \"value\"")

    def test_a_key_that_is_there_twice(self) -> None:
        message = "line 3: found the key 'MEMSIZE' again, which is in line 1 already"
        assert refusal(b'memsize = "1"\nx = ""\nMEMSIZE = "1"\n') == ("E_VMX_SYNTAX", message)

    def test_a_file_that_is_too_long(self) -> None:
        message = f"the descriptor has {MAX_BYTES + 1} bytes, expected at most {MAX_BYTES}"
        assert refusal(b"#" * (MAX_BYTES + 1)) == ("E_VMX_LIMIT", message)
        assert read_settings(b"#" * MAX_BYTES).unasked == ()

    def test_control_characters_are_escaped_in_the_message(self) -> None:
        assert refusal(b"\x1b[2J")[1] == "line 1: found '\\x1b[2J', expected key = \"value\""


class TestEncoding:
    @pytest.mark.parametrize(
        ("name", "codec"),
        [
            ("UTF-8", "utf-8"),
            ("windows-1252", "cp1252"),
            ("Shift_JIS", "cp932"),
            ("GBK", "gbk"),
            ("ISO-8859-1", "latin-1"),
        ],
    )
    def test_the_one_that_it_names(self, name: str, codec: str) -> None:
        word = "機械" if codec in {"cp932", "gbk"} else "Büro"
        text = f'#!/usr/bin/vmware\n.ENCODING = "{name}"\ndisplayName = "{word}"\n'
        assert read_settings(text.encode(codec)).text("displayName") == word

    def test_utf_8_when_it_names_none(self) -> None:
        assert read_settings('\ufeffa = "ü"\n'.encode()).text("a") == "ü"

    def test_bytes_that_are_not_in_it(self) -> None:
        assert refusal(b'a = "\xfc"\n') == ("E_VMX_ENCODING", "found byte 0xfc at byte 5, which is no UTF-8")

    @pytest.mark.parametrize("name", ["utf-16", "zip", "unicode_escape", "idna", "\x1b", ""])
    def test_one_that_is_not_known(self, name: str) -> None:
        code, message = refusal(f'.encoding = "{name}"\n'.encode())
        assert code == "E_VMX_ENCODING"
        assert message.endswith("expected one that VMware writes, such as UTF-8 or windows-1252")

    def test_zero_bytes(self) -> None:
        assert refusal(b'a = "1"\0\n') == ("E_VMX_ENCODING", "found a zero byte, expected text")


class TestValues:
    def test_escapes(self) -> None:
        settings = read_settings(b'a = "x|22y|7Cz|0Aw|7c"\n')
        assert settings.text("a") == 'x"y|z\nw|'

    @pytest.mark.parametrize("value", ["|", "a|", "|2", "|zz", "|80", "|FF"])
    def test_an_escape_of_nothing(self, value: str) -> None:
        settings = read_settings(f'a = "{value}"\n'.encode())
        with pytest.raises(DescriptorError) as caught:
            settings.text("a")
        message = f"a: found '{value}', expected two hexadecimal digits from 00 to 7F behind each |"
        assert (caught.value.code, str(caught.value)) == ("E_VMX_VALUE", message)

    def test_claims(self) -> None:
        settings = read_settings(b'a = "TRUE"\nb = "false"\nc = ""\nd = "1"\ne = "maybe"\n')
        assert [settings.flag(key) for key in "abcdx"] == [True, False, False, True, False]
        assert settings.flag("c", default=True)
        with pytest.raises(DescriptorError) as caught:
            settings.flag("e")
        assert str(caught.value) == "e: found 'maybe', expected TRUE or FALSE"

    def test_numbers(self) -> None:
        settings = read_settings(b'a = "7"\nb = ""\nc = "0x7"\nd = "8"\ne = "99999999999999999999"\nf = "-1"\n')
        assert [settings.count(key, least=1, most=7) for key in ("a", "b", "x")] == [7, None, None]
        for key in "cdef":
            with pytest.raises(DescriptorError, match="expected a whole number from 1 to 7") as caught:
                settings.count(key, least=1, most=7)
            assert caught.value.code == "E_VMX_VALUE"


def test_what_is_written_reads_back() -> None:
    values = {"a": 'x"y|z\n\t\r# 100% ü機', "b.c": "", "d:1": "end"}
    text = format_settings(values.items())
    assert text.startswith('.encoding = "UTF-8"\na = "x|22y|7Cz|0A|09|0D|23 100|25 ü機"\n')
    settings = read_settings(text.encode())
    assert {key: settings.text(key) for key in values} == values

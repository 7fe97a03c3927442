"""The text of a VMX: one setting on a line, ``key = "value"``.

Keys are compared without letter case. In a value ``|`` and two hexadecimal digits stand for a character that could not
be written (``|22`` is a quotation mark). ``.encoding`` names the file's own encoding.
A line of any other form, or a key that is there twice, refuses the file: two readers would read two machines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from virt_ova.errors import DescriptorError
from virt_ova.text import quoted

MAX_BYTES: Final = 1 << 20
"""Largest VMX; VMware's own are below 10 KiB."""

_ENCODINGS: Final = {
    "utf-8": "utf-8", "utf8": "utf-8", "us-ascii": "ascii", "ascii": "ascii",
    "windows-1252": "cp1252", "iso-8859-1": "latin-1", "windows-1250": "cp1250", "windows-1251": "cp1251",
    "windows-932": "cp932", "shift_jis": "cp932", "windows-936": "gbk", "gbk": "gbk", "gb18030": "gb18030",
    "windows-949": "cp949", "euc-kr": "cp949", "windows-950": "cp950", "big5": "cp950", "euc-jp": "euc_jp",
}  # fmt: skip
"""Names that VMware and libvirt write, and Python's; no other codec is ever looked up."""

_DEFAULT_ENCODING: Final = "UTF-8"
_NAMED_ENCODING: Final = re.compile(rb"^[ \t]*\.encoding[ \t]*=[ \t]*\"([^\"\r\n]*)\"", re.IGNORECASE | re.MULTILINE)
_SETTING: Final = re.compile(r"(?P<key>[^\s\"=#|]+)[ \t]*=[ \t]*\"(?P<value>[^\"]*)\"")
_ESCAPE: Final = re.compile(r"\|(?P<code>[0-7][0-9A-Fa-f])?")
_NEEDS_ESCAPE: Final = re.compile(r"[\x00-\x1f\x7f|\"%#]")
_NUMBER: Final = re.compile(r"[0-9]{1,10}")
_TRUE: Final = frozenset({"true", "t", "yes", "y", "on", "1"})
_FALSE: Final = frozenset({"false", "f", "no", "n", "off", "0"})


class Settings:
    """The settings of one VMX; remembers which were asked for."""

    def __init__(self, values: Mapping[str, str]) -> None:
        """Take values as written, by key as written; no two keys may differ in letter case alone."""
        self._values = {key.lower(): value for key, value in values.items()}
        self._names = {key.lower(): key for key in values}
        self._asked: set[str] = set()

    @property
    def unasked(self) -> tuple[str, ...]:
        """Keys of the settings that nobody asked for, as written, in their order."""
        return tuple(name for key, name in self._names.items() if key not in self._asked)

    def __contains__(self, key: str) -> bool:
        return key.lower() in self._values

    def raw(self, key: str) -> str:
        """A value as written; empty when the key is not there."""
        self._asked.add(key.lower())
        return self._values.get(key.lower(), "")

    def text(self, key: str) -> str:
        """A value with its escapes decoded, without blanks around it; empty when the key is not there.

        Raises:
            DescriptorError: ``|`` is followed by something else than the code of a character (``E_VMX_VALUE``).
        """
        return unescape(self.raw(key), where=key).strip()

    def word(self, key: str) -> str:
        """A value of which letter case says nothing, in lower case. Raises as `text`."""
        return self.text(key).lower()

    def flag(self, key: str, *, default: bool = False) -> bool:
        """A claim; `default` when the key is not there or the value is empty.

        Raises:
            DescriptorError: the value is neither true nor false (``E_VMX_VALUE``).
        """
        if not (word := self.word(key)):
            return default
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
        raise bad_value(f"found {quoted(word)}, expected TRUE or FALSE", key)

    def count(self, key: str, *, least: int, most: int) -> int | None:
        """A number; None when the key is not there or the value is empty.

        Raises:
            DescriptorError: it is no number from `least` to `most` (``E_VMX_VALUE``).
        """
        text = self.text(key)
        if not text:
            return None
        if not _NUMBER.fullmatch(text) or not least <= int(text) <= most:
            raise bad_value(f"found {quoted(text)}, expected a whole number from {least} to {most}", key)
        return int(text)


def read_settings(data: bytes) -> Settings:
    """The settings in `data`.

    Raises:
        DescriptorError: it is too long (``E_VMX_LIMIT``), is not in the encoding that it names, or names one that is
            not known (``E_VMX_ENCODING``), has a line that is no setting, or a key twice (``E_VMX_SYNTAX``).
    """
    if len(data) > MAX_BYTES:
        raise DescriptorError(f"the descriptor has {len(data)} bytes, expected at most {MAX_BYTES}", code="E_VMX_LIMIT")
    values: dict[str, str] = {}
    lines: dict[str, int] = {}
    for number, line in enumerate(re.split(r"\r\n|\n|\r", _decode(data)), start=1):
        stripped = line.strip(" \t")
        if not stripped or stripped.startswith("#"):
            continue
        if (match := _SETTING.fullmatch(stripped)) is None:
            raise _bad_syntax(f'found {quoted(stripped)}, expected key = "value"', number)
        first = lines.setdefault(match["key"].lower(), number)
        if first != number:
            raise _bad_syntax(f"found the key {quoted(match['key'])} again, which is in line {first} already", number)
        values[match["key"]] = match["value"]
    return Settings(values)


def format_settings(settings: Iterable[tuple[str, str]]) -> str:
    """The text of a VMX with `settings`, in their order; the inverse of `read_settings`.

    A percent sign is escaped because libvirt takes it, in a name, for the beginning of an escape of its own.
    """
    pairs = ((".encoding", _DEFAULT_ENCODING), *settings)
    return "".join(f'{key} = "{_NEEDS_ESCAPE.sub(_escape, value)}"\n' for key, value in pairs)


def unescape(value: str, *, where: str) -> str:
    """`value` with ``|22`` and the like decoded.

    Raises:
        DescriptorError: ``|`` is followed by something else than ``00`` to ``7F`` (``E_VMX_VALUE``).
    """

    def decoded(match: re.Match[str]) -> str:
        if match["code"] is None:
            raise bad_value(
                f"found {quoted(value)}, expected two hexadecimal digits from 00 to 7F behind each |", where
            )
        return chr(int(match["code"], 16))

    return _ESCAPE.sub(decoded, value)


def bad_value(message: str, key: str) -> DescriptorError:
    """The error for a value that cannot be (``E_VMX_VALUE``)."""
    return DescriptorError(message, code="E_VMX_VALUE", where=key)


def _escape(match: re.Match[str]) -> str:
    return f"|{ord(match[0]):02X}"


def _decode(data: bytes) -> str:
    named = _NAMED_ENCODING.search(data)
    name = named[1].decode("ascii", "replace").strip() if named else _DEFAULT_ENCODING
    if (codec := _ENCODINGS.get(name.lower())) is None:
        raise DescriptorError(
            f"found the encoding {quoted(name)}, expected one that VMware writes, such as UTF-8 or windows-1252",
            code="E_VMX_ENCODING",
        )
    try:
        text = data.removeprefix(b"\xef\xbb\xbf").decode(codec)
    except UnicodeDecodeError as exc:
        raise DescriptorError(
            f"found byte {exc.object[exc.start]:#04x} at byte {exc.start}, which is no {name}",
            code="E_VMX_ENCODING",
            hint="If it was edited by hand, save it in the encoding that its line .encoding names.",
        ) from exc
    if "\0" in text:
        raise DescriptorError("found a zero byte, expected text", code="E_VMX_ENCODING")
    return text


def _bad_syntax(message: str, line: int) -> DescriptorError:
    return DescriptorError(
        message,
        code="E_VMX_SYNTAX",
        where=f"line {line}",
        hint="The file is damaged, or was edited by hand: correct the line.",
    )

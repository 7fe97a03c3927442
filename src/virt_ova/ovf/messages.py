"""Message bundles: the descriptor's texts in several languages (DSP0243 10).

An element has its text, a ``msgid``, or both. Bundles give texts by that id, each in one language: inside the
descriptor, or in a file of the package, which may be had or not. Of one language, what stands inside wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from virt_ova.errors import DescriptorError
from virt_ova.ovf.names import XML
from virt_ova.ovf.xml import Element, read_document
from virt_ova.text import quoted

DEFAULT_LANGUAGE: Final = "en-US"
"""Of an envelope without ``xml:lang`` (DSP8023)."""

MAX_BUNDLE_BYTES: Final = 1 << 20
"""Longest message bundle in a file of its own."""

MAX_BUNDLES: Final = 64
"""Most message bundles that are read; who has more languages has them for nothing."""

_NO_MATCH: Final = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundle:
    """Texts by message id.

    Attributes:
        language: ``xml:lang``; of a bundle without one, the envelope's.
        texts: by message id.
    """

    language: str
    texts: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Messages:
    """The texts of a descriptor in the language that is shown.

    Attributes:
        language: the language.
        preferred: texts that stand for what the element itself says.
        fallback: texts of other languages, for elements that say nothing.
    """

    language: str = DEFAULT_LANGUAGE
    preferred: Mapping[str, str] = field(default_factory=dict)
    fallback: Mapping[str, str] = field(default_factory=dict)

    def text(self, message_id: str, own: str) -> str:
        """The text of an element whose ``msgid`` is `message_id` and whose own text is `own`."""
        return self.preferred.get(message_id) or own or self.fallback.get(message_id, "")


def read_bundle(element: Element, language: str) -> Bundle:
    """The texts of a ``Strings`` element, in a descriptor or the root of a file; `language` is that around it."""
    own = element.attributes.get((XML, "lang"), "").strip()
    texts: dict[str, str] = {}
    for message in element.children:
        if message.name == "Msg":
            texts.setdefault(_message_id(message), message.text.strip())
    return Bundle(language=own or language, texts=texts)


def read_bundle_file(data: bytes, language: str) -> Bundle:
    """The texts of a file that holds a bundle.

    Raises:
        DescriptorError: it cannot be read, or is no bundle (``E_OVF_*``).
    """
    root = read_document(data).root
    if root.name != "Strings":
        raise DescriptorError(
            f"found the root element {quoted(root.name)}, expected Strings", code="E_OVF_VERSION", where=root.where
        )
    return read_bundle(root, language)


def choose_messages(bundles: Sequence[Bundle], *, language: str, locale: str) -> Messages:
    """The texts to show.

    Args:
        bundles: all of them; of two with one language, the first counts more.
        language: the envelope's own, in which elements say what they say.
        locale: the language that is asked for (RFC 5646); the envelope's own when empty.
    """
    there = (language, *(bundle.language for bundle in bundles))
    shown = min(there, key=lambda each: _distance(each, locale)) if locale else language
    is_default = shown.lower() == language.lower()
    chosen = (shown,) if is_default else (shown, language)
    return Messages(
        language=shown,
        preferred=_joined(bundle for name in chosen for bundle in bundles if bundle.language.lower() == name.lower()),
        fallback=_joined(bundles),
    )


def speaks(messages: Messages, locale: str) -> bool:
    """Whether the texts are in the language that was asked for."""
    return not locale or _distance(messages.language, locale) < _NO_MATCH


def _distance(language: str, locale: str) -> int:
    """How far a language is from the one asked for: the same, a wider one, one of the same family, another."""
    found, wanted = language.lower(), locale.lower().replace("_", "-").partition(".")[0]
    if found == wanted:
        return 0
    if wanted.startswith(f"{found}-"):
        return 1
    return 2 if found.partition("-")[0] == wanted.partition("-")[0] else _NO_MATCH


def _joined(bundles: Iterable[Bundle]) -> dict[str, str]:
    """All texts together; the first of an id counts."""
    texts: dict[str, str] = {}
    for bundle in bundles:
        for message_id, text in bundle.texts.items():
            texts.setdefault(message_id, text)
    return texts


def _message_id(message: Element) -> str:
    """``msgid``, which bundle files qualify by a namespace of their own, or by none."""
    return next((value.strip() for (_, name), value in message.attributes.items() if name == "msgid"), "")

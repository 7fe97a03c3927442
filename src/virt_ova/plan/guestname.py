"""What a package calls its guest, in libosinfo's words: a distribution and a version.

VMware's word (``vmw:osType``), VirtualBox's (``vbox:OSType``) or oVirt's counts first, then the description, then the
CIM number; each later one only adds to what the earlier ones said. The numbers from 111 on are worth little, because
writers disagree about them: that they all are a Windows is common to them. Nothing here fails on the unknown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from virt_ova.ovf.envelope import OperatingSystem


@dataclass(frozen=True, kw_only=True, slots=True)
class GuestName:
    """A guest as libosinfo names it.

    Attributes:
        family: ``linux``, ``winnt``, ``win9x``, ``freebsd``...; empty when unknown.
        distro: ``debian``, ``rhel``, ``win``...; empty when no more than the family is told.
        version: ``12``, ``22.04``, ``2k16``; empty when it is not told.
    """

    family: str = ""
    distro: str = ""
    version: str = ""

    def __str__(self) -> str:
        return f"{self.distro}{self.version}" or self.family or "unknown"


UNKNOWN: Final = GuestName()
LINUX_2_4: Final = GuestName(family="linux", distro="linux", version="2.4")
"""Some Linux of before 2004; libosinfo has no word for it."""

_LONGEST_WORD = 200
_BITS = re.compile(r"[-_ (]*(?:(?:(?<!u)x)?64|32)(?:[- ]?bits?)?\)?$")
_VERSION = r"(?:[a-z_/()\- ]{0,30}(?P<version>\d+(?:[._]\d+)?))?"

_DISTROS: Final = (
    ("centos", "linux", r"centos"),
    ("rhel", "linux", r"rhel|red ?hat enterprise|redhat(?=\d)"),
    ("ol", "linux", r"oracle"),
    ("almalinux", "linux", r"almalinux"),
    ("rocky", "linux", r"rocky"),
    ("fedora", "linux", r"fedora"),
    ("debian", "linux", r"debian"),
    ("ubuntu", "linux", r"ubuntu"),
    ("opensuse", "linux", r"opensuse"),
    ("sles", "linux", r"sles|suse linux enterprise|suse_le"),
    ("alpinelinux", "linux", r"alpine"),
    ("mageia", "linux", r"mageia"),
    ("freebsd", "freebsd", r"freebsd"),
    ("openbsd", "openbsd", r"openbsd"),
    ("netbsd", "netbsd", r"netbsd"),
    ("solaris", "solaris", r"\bsolaris"),
    ("netware", "netware", r"netware"),
    ("msdos", "msdos", r"^(?:ms[- ]?)?dos"),
)
"""libosinfo's distribution and family, and how writers begin the word for it."""

_FIRST_SLE: Final = 15
"""libosinfo has SUSE Linux Enterprise as ``sle`` from this version on."""

_OLD_KERNEL: Final = re.compile(r"other ?2\.?4\.?x.*linux|linux ?2\.?4")
_KERNEL: Final = re.compile(r"other ?(?P<major>[4-9])\.?x.*linux")
_YEAR_OF_KERNEL: Final = {"4": "2016", "5": "2018"}
"""libosinfo's generic Linux for kernels of that number; the next one is for all later."""

_LATER_YEAR: Final = "2022"
_SOME_LINUX: Final = re.compile(
    r"linux|suse|mandr|turbo|asianux|gentoo|xandros|photon|coreos|rhcos|redhat|^nld|^oes|crxpod"
)

_WINDOWS: Final = re.compile(r"(?:microsoft )?win(?!e)(?:dows)?(?:[ _]server)?[ _]?(?P<rest>.*)")
_WINDOWS_VERSIONS: Final = (
    ("2022srvnext", "2k25"),
    ("2019srvnext", "2k22"),
    ("9server", "2k16"),
    ("8server", "2k12"),
    ("7server", "2k8r2"),
    ("longhorn", "2k8"),
    ("net(?:web|standard|enterprise|datacenter|business)", "2k3"),
    ("2000|2k$", "2k"),
    ("nt.?[34]|nt", "nt"),
    ("95", "95"),
    ("98", "98"),
    ("me", "me"),
    ("xp", "xp"),
    ("vista", "vista"),
    ("11", "11"),
    ("9|10", "10"),
    (r"8\.?1", "8.1"),
    ("8", "8"),
    ("7", "7"),
)
"""Beginnings of what follows ``windows``, and libosinfo's version. To VMware, Windows 9 is 10."""

_SERVER: Final = re.compile(r"(?:20|2k)0?(?P<year>3|8|12|16|19|22|25)(?:[ _]?(?P<release>r2))?(?!srvnext)")
_WINDOWS_9X: Final = frozenset({"95", "98", "me"})

_DISTRO_OF_ID: Final = {
    79: "rhel", 80: "rhel", 84: "sles", 85: "sles", 93: "ubuntu", 94: "ubuntu", 95: "debian", 96: "debian",
    106: "centos", 107: "centos", 108: "ol", 109: "ol", 42: "freebsd", 78: "freebsd", 29: "solaris", 81: "solaris",
    14: "dos", 97: "linux24", 98: "linux24",
}  # fmt: skip
_WINDOWS_OF_ID: Final = {
    15: "", 16: "95", 17: "98", 18: "nt", 58: "2000", 63: "me", 67: "xp", 69: "2003", 70: "2003", 71: "xp", 72: "xp",
    73: "vista", 74: "vista", 76: "2008", 77: "2008", 103: "2008r2", 105: "7",
} | dict.fromkeys(range(111, 124), "")  # fmt: skip
_LINUX_IDS: Final = frozenset({36, 82, 83, *range(86, 93), 99, 100, 101})
"""CIM_OperatingSystem.OSType, as far as everybody means the same by it."""


def name_of(os: OperatingSystem) -> GuestName:
    """What the package says its guest is."""
    name = UNKNOWN
    for told in (_parse(os.type), _parse(os.description), _parse(_word_of_id(os.id))):
        if not name.family or (told.distro and _says_more(told, name)):
            name = told
    return name


def _says_more(told: GuestName, name: GuestName) -> bool:
    if not name.distro:
        return told.family == name.family
    return told.distro == name.distro and not name.version


def _word_of_id(number: int | None) -> str:
    """A word that `_parse` knows."""
    if number is None:
        return ""
    if number in _WINDOWS_OF_ID:
        return f"windows{_WINDOWS_OF_ID[number]}"
    return _DISTRO_OF_ID.get(number, "linux" if number in _LINUX_IDS else "")


def _parse(text: str) -> GuestName:
    """What a writer's word or description means; `UNKNOWN` when it means nothing here."""
    word = _BITS.sub("", text.strip().lower()[:_LONGEST_WORD].removesuffix("guest"))
    if windows := _WINDOWS.match(word):
        return _windows(windows["rest"])
    if _OLD_KERNEL.search(word):
        return LINUX_2_4
    if kernel := _KERNEL.search(word):
        return GuestName(family="linux", distro="linux", version=_YEAR_OF_KERNEL.get(kernel["major"], _LATER_YEAR))
    for distro, family, pattern in _DISTROS:
        if found := re.search(f"(?:{pattern}){_VERSION}", word):
            version = (found["version"] or "").replace("_", ".")
            is_sle = distro == "sles" and version and float(version) >= _FIRST_SLE
            return GuestName(family=family, distro="sle" if is_sle else distro, version=version)
    return GuestName(family="linux") if _SOME_LINUX.search(word) else UNKNOWN


def _windows(rest: str) -> GuestName:
    if server := _SERVER.match(rest):
        return GuestName(family="winnt", distro="win", version=f"2k{server['year']}{server['release'] or ''}")
    version = next((version for pattern, version in _WINDOWS_VERSIONS if re.match(pattern, rest)), "")
    if version == "nt":
        return GuestName(family="winnt", distro="winnt", version="4.0")
    return GuestName(family="win9x" if version in _WINDOWS_9X else "winnt", distro="win", version=version)

"""What is known of the guest before it runs.

The vendor's word (``vmw:osType``, ``vbox:OSType``, oVirt's) is read first and the CIM number second, because writers
disagree about the numbers from 103 on. Nothing here fails on the unknown.
"""

from __future__ import annotations

import re

from virt_ova.ovf.envelope import OperatingSystem

_WINDOWS = re.compile(r"win(?!e)", re.IGNORECASE)
_OLD_WINDOWS = re.compile(r"win(?:dows)?_?(?:xp|net|2000|2003|2008|2k|nt|3|95|98|me|vista|longhorn|7)", re.IGNORECASE)
_ARM = re.compile(r"(?:^|[-_])(?:arm|aarch)|(?:arm64|aarch64)", re.IGNORECASE)

_OLD_WINDOWS_IDS = frozenset({15, 16, 17, 18, 58, 63, 64, 67, 69, 70, 71, 72, 73, 74, 76, 77, 103, 105})
_NEW_WINDOWS_IDS = frozenset(range(111, 124))


def is_windows(os: OperatingSystem) -> bool:
    """Whether it is a Windows, which keeps its clock in local time."""
    if os.type:
        return _WINDOWS.match(os.type) is not None
    return os.id in _OLD_WINDOWS_IDS | _NEW_WINDOWS_IDS


def is_old_windows(os: OperatingSystem) -> bool:
    """Whether it is a Windows before 8: its AHCI driver is absent, or disabled unless it was installed on AHCI."""
    return _OLD_WINDOWS.match(os.type) is not None if os.type else os.id in _OLD_WINDOWS_IDS


def is_arm(os: OperatingSystem) -> bool:
    """Whether its processor is an ARM (``arm-debian12-64``, ``Debian_arm64``)."""
    return _ARM.search(os.type) is not None

"""Every error virt-ova raises.

::

    VirtOvaError
    ├── SourceError          the bytes cannot be had, or are not a package
    ├── PackageError         the package contradicts itself (manifest, references)
    │   └── DigestError      bytes differ from the manifest
    ├── DescriptorError      the OVF cannot be read or makes no sense
    ├── DiskError            a disk image is damaged, unsafe or unsupported
    ├── PlanError            the plan or its options cannot be realised
    ├── TargetError          the hypervisor or folder refuses
    │   └── SpaceError       not enough room
    ├── ToolError            an external program failed
    └── RollbackError        undoing a failed install left something behind

An error says what is wrong, where, what was found, what was expected, and what to do. Code is a stable word that
programs may match; text from a package is escaped (`virt_ova.text.quoted`) before it enters a message.
"""

from __future__ import annotations

from typing import Final, Self

_DAMAGED: Final = "The file is damaged or cut short: copy or download the package again."
_DISK_DAMAGED: Final = "The disk is damaged or cut short: copy or download the package again."
_DISTRUST: Final = "No packer makes such a file; do not trust this package, or make it anew."
_EXPORT: Final = "Correct the descriptor, or export the package again."
_MANIFEST: Final = "Ask for a package with a good manifest, or make the manifest anew."

USUAL_HINTS: Final = {
    "E_SOURCE_READ": "Check the disk or the network, and copy the package again.",
    "E_SOURCE_OPEN": "Check the path and its permissions.",
    "E_NOT_OVA": "Give an .ova, an .ovf, or a folder that holds one.",
    "E_TAR_SYNTAX": _DAMAGED,
    "E_TAR_SIZE": _DAMAGED,
    "E_TAR_NAME": _DISTRUST,
    "E_TAR_TYPE": _DISTRUST,
    "E_TAR_DUP": _DISTRUST,
    "E_TAR_AMBIGUOUS": _DISTRUST,
    "E_TAR_TRAILING": _DISTRUST,
    "E_TAR_SPARSE": "Pack it again without --sparse.",
    "E_PKG_FILE": "Get the complete package, with its files beside the descriptor.",
    "E_PKG_COMPANION": "Rename the right one, or remove the others.",
    "E_MANIFEST_SYNTAX": _MANIFEST,
    "E_MANIFEST_NAME": _MANIFEST,
    "E_MANIFEST_LIMIT": _MANIFEST,
    "E_CERT_LIMIT": "Ask for a package with a certificate of the usual size.",
    "E_OVF_LIMIT": "No known product writes such a descriptor.",
    "E_OVF_XML": _EXPORT,
    "E_OVF_VERSION": "Check that it is the descriptor of an appliance, of OVF 0.9, 1.x or 2.x.",
    "E_OVF_VALUE": _EXPORT,
    "E_OVF_UNIT": "Write a unit as in 'byte * 2^20'.",
    "E_OVF_REF": _EXPORT,
    "E_OVF_HARDWARE": "There is nothing to install; check that it is the right package.",
    "E_DISK_STRUCT": _DISK_DAMAGED,
    "E_DISK_SIZE": "Check the disk where it was made, and export the package again.",
    "E_DISK_DESCRIPTOR": "The disk may be damaged, or made to read files of this host; export the machine again.",
}
"""What to do about an error that says nothing of its own about it, by code; these are the faults of a package."""


class VirtOvaError(Exception):
    """Base of all errors of this library.

    Attributes:
        code: stable identifier such as ``E_TAR_NAME``.
        message: one sentence without a trailing stop: what was found and what was expected.
        where: the place, outermost first (``appliance.ova: disk1.vmdk: grain 17``); may be empty.
        hint: what the user can do; the usual one of `USUAL_HINTS` when none is given, and perhaps empty.
    """

    def __init__(self, message: str, *, code: str, where: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.where = where
        self.hint = hint or USUAL_HINTS.get(code, "")

    def at(self, where: str) -> Self:
        """Put `where` in front of the place; used while the error bubbles up. Returns itself."""
        self.where = f"{where}: {self.where}" if self.where else where
        return self

    def document(self) -> dict[str, dict[str, str]]:
        """As JSON; names are fixed."""
        return {"error": {"code": self.code, "message": str(self), "hint": self.hint}}

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


class SourceError(VirtOvaError):
    """The bytes of the package cannot be had, or are not a package."""


class PackageError(VirtOvaError):
    """The package contradicts itself."""


class DigestError(PackageError):
    """Bytes of the package differ from its manifest."""


class DescriptorError(VirtOvaError):
    """The OVF descriptor cannot be read or makes no sense."""


class DiskError(VirtOvaError):
    """A disk image is damaged, unsafe or unsupported."""


class PlanError(VirtOvaError):
    """The plan or its options cannot be realised."""


class TargetError(VirtOvaError):
    """The hypervisor or folder refuses."""


class SpaceError(TargetError):
    """The target has not enough room."""


class ToolError(VirtOvaError):
    """An external program failed."""


class RollbackError(VirtOvaError):
    """Undoing a failed install left something behind; `__cause__` is the failure that started it."""

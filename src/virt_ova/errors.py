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

from typing import Self


class VirtOvaError(Exception):
    """Base of all errors of this library.

    Attributes:
        code: stable identifier such as ``E_TAR_NAME``.
        message: one sentence without a trailing stop: what was found and what was expected.
        where: the place, outermost first (``appliance.ova: disk1.vmdk: grain 17``); may be empty.
        hint: what the user can do; may be empty.
    """

    def __init__(self, message: str, *, code: str, where: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.where = where
        self.hint = hint

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

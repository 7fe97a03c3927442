"""The driver of ``dir:PATH``, the reference for all others.

The machine ``web`` lives in ``PATH/web``: its images, ``domain.xml`` for a libvirt that may come later, and ``run``,
which runs it under QEMU with the same hardware. The folder is made with ``mkdir``, which cannot replace one, and
everything in it is written where it stays. An image that several machines share lies in the folder of the first one.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Final, cast

from virt_ova.disk.sink import FileSink, check_room, examined, file_error, write_new
from virt_ova.errors import TargetError
from virt_ova.findings import Finding
from virt_ova.kernel import file_identity, has_identity, seal_of
from virt_ova.paths import PATH_ERRORS, is_text, path_problem
from virt_ova.plan.host import HostCapabilities
from virt_ova.plan.inputs import Backing, VolumeSource
from virt_ova.plan.machine import ConnectionKind, FirmwareKind, Machine, images_of
from virt_ova.plan.nics import MADE
from virt_ova.plan.plan import InstallPlan, Transfer
from virt_ova.plan.to_libvirt import domain_xml
from virt_ova.plan.to_qemu import QemuSettings, qemu_command
from virt_ova.target.base import Volume
from virt_ova.target.directory import removal
from virt_ova.target.directory.domain import CONSOLE, RUNNING_FILES, SCRIPT_FILE, FolderDomain, daemon_options
from virt_ova.target.directory.folder import FolderVolume, MachineFolder, folder_exists
from virt_ova.target.directory.hardware import check_hardware
from virt_ova.target.directory.records import Kind, file_record, is_as_recorded, machine_record
from virt_ova.target.directory.script import run_script
from virt_ova.target.directory.sockets import AGENT_SOCKET, TPM_SOCKET, VNC_SOCKET, escaped, listening
from virt_ova.target.directory.tpm import TPM_FOLDER, has_tpm, make_tpm
from virt_ova.target.emulator import device_names, kvm_runs
from virt_ova.target.firmware import EfiFirmware, find_firmware, variables_bytes
from virt_ova.target.identity import identified, new_uuid
from virt_ova.target.names import check_file_name
from virt_ova.target.record import Note, Record, Removal, unnoted
from virt_ova.text import quoted
from virt_ova.undo import Made, take_back

EMULATOR: Final = "qemu-system-x86_64"
DOMAIN_FILE: Final = "domain.xml"
VARIABLES_FILE: Final = "efi-vars.fd"

_OWN_FILES: Final = frozenset({DOMAIN_FILE, SCRIPT_FILE, VARIABLES_FILE, TPM_FOLDER, *RUNNING_FILES})
"""What else there is in a machine's folder."""

_CHIPSETS: Final = ("pc", "q35")


class DirectoryDriver:
    """Opens ``dir:PATH``."""

    name = "dir"
    summary = "A folder: disks, domain XML and a script that runs the machine under QEMU"
    example = "dir:/srv/machines"

    def missing(self) -> str:
        """Nothing is."""
        return ""

    def open(self, uri: str, *, pool: str | None = None) -> DirectoryTarget:
        """The target that is the folder named by `uri`; ``dir:PATH`` and ``dir:///PATH`` are the same. Nothing is made.

        Raises:
            TargetError: it names no folder (``E_CONNECT``), or `pool` is given (``E_POOL``).
        """
        if pool is not None:
            raise TargetError(f"a folder has no storage pools, found the pool {quoted(pool)}", code="E_POOL")
        _, _, path = uri.partition(":")
        path = path.removeprefix("//") if path.startswith("///") else path
        if not path or path.startswith("//") or "\0" in path:
            raise TargetError(f"{quoted(uri)} names no folder, expected dir:PATH or dir:///PATH", code="E_CONNECT")
        return DirectoryTarget(_absolute(path))


class DirectoryTarget:
    """A folder that machines are put into."""

    def __init__(self, path: Path) -> None:
        """The folder `path`, which need not exist."""
        self.path = path
        self._folders: dict[str, MachineFolder] = {}
        self._machine_of: dict[str, str] = {}
        self._adopted: set[str] = set()
        self._note: Note = unnoted

    @property
    def uri(self) -> str:
        """``dir:`` and the absolute path."""
        return f"dir:{self.path}"

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Nothing unexpected is ever done."""
        return ()

    @property
    def keeps_files_here(self) -> bool:
        """Always."""
        return True

    @cached_property
    def capabilities(self) -> HostCapabilities:
        """What QEMU on this host can do; as little as is sure when there is none."""
        bare = HostCapabilities(
            virt_types=("qemu",),
            chipsets=_CHIPSETS,
            firmware=_bootable_firmware(),
            variables_bytes=variables_bytes(_CHIPSETS),
        )
        if shutil.which(EMULATOR) is None:
            return bare
        return replace(
            bare,
            virt_types=("kvm", "qemu") if kvm_runs(EMULATOR) else ("qemu",),
            secure_boot=find_firmware("q35", secure_boot=True) is not None,
            tpm=has_tpm(),
            devices=device_names(EMULATOR),
            has_nvme=True,
        )

    def check(self, plan: InstallPlan, sizes: Mapping[str, int]) -> None:
        """See `virt_ova.target.base.Target.check`; the call also tells which machine each transfer is for."""
        for machine in plan.machines:
            folder = self.path / check_file_name(machine.name, "the machine name")
            if os.path.lexists(folder) and machine.name not in self._adopted:
                raise folder_exists(folder)
            _check_networks(machine)
            check_hardware(machine, self.capabilities, _completed(QemuSettings(serial="null"), _firmware_of(machine)))
            images = dict.fromkeys(images_of(machine), machine.name)
            self._machine_of = images | self._machine_of
        for transfer in plan.transfers:
            _check_image_name(transfer.image_name)
            self._owner(transfer)
        check_room(self.path, sum(sizes.values()))

    def create_volume(self, transfer: Transfer, size_bytes: int) -> FolderVolume:  # noqa: ARG002 - a file grows
        """See `virt_ova.target.base.Target.create_volume`; needs `check` before."""
        return self._create(transfer)

    def check_link(self, backing: Backing) -> None:
        """QEMU will run as the user who reads the package now."""

    def create_linked(self, transfer: Transfer, size_bytes: int, backing: Backing) -> FolderVolume:  # noqa: ARG002 - a file grows
        """See `virt_ova.target.base.Linker.create_linked`."""
        return self._create(transfer, backing)

    def _create(self, transfer: Transfer, backing: Backing | None = None) -> FolderVolume:
        folder = self._folder(self._owner(transfer))
        try:
            sink = folder.create(folder.path / _check_image_name(transfer.image_name))
            return FolderVolume(folder, sink, transfer.image_format, backing)
        except BaseException:
            folder.release()
            raise

    def define(self, machine: Machine, volumes: Mapping[str, Volume], *, uuid: str = "") -> FolderDomain:
        """See `virt_ova.target.base.Target.define`."""
        domain_uuid = uuid or new_uuid()
        folder = self._folder(machine.name)
        own = {key: cast("FolderVolume", volume) for key, volume in volumes.items()}
        made: list[Made] = []
        try:
            firmware = _firmware_of(machine)
            script = _script(machine, own, firmware)
            if firmware is not None and not machine.firmware.variables:
                variables = _read(firmware.variables)
                made.append(write_new(folder.path / VARIABLES_FILE, variables, create=folder.create).made)
            described = _xml(machine, own, domain_uuid).encode()
            made.append(write_new(folder.path / DOMAIN_FILE, described, create=folder.create).made)
            made.append(write_new(folder.path / SCRIPT_FILE, script.encode(), mode=0o700, create=folder.create).made)
            folder.settle()
            with examined(folder.path):
                self._note(machine_record(folder.path))
            if machine.has_tpm:
                made.append(make_tpm(folder.path))
            command = _daemon_command(folder.path, machine, own, firmware)
        except BaseException as exc:
            take_back(made, exc)
            folder.release()
            raise
        return FolderDomain(folder, uuid=domain_uuid, made=made, command=command, has_tpm=machine.has_tpm)

    def define_trial(self, machine: Machine, volumes: Mapping[str, Volume]) -> FolderDomain:
        """See `virt_ova.target.base.Trier.define_trial`; what is written goes to a nameless file of QEMU's."""
        folder = self._folder(machine.name)
        own = {key: cast("FolderVolume", volume) for key, volume in volumes.items()}
        with examined(folder.path):
            self._note(machine_record(folder.path))
        command = _daemon_command(folder.path, machine, own, _firmware_of(machine), keeps_writes=False)
        made = [make_tpm(folder.path)] if machine.has_tpm else []
        return FolderDomain(folder, uuid="", made=made, command=command, has_tpm=machine.has_tpm)

    def tell(self, note: Note) -> None:
        """See `virt_ova.target.record.Recoverable.tell`."""
        self._note = note

    def seal(self, volume: Volume) -> Record:
        """See `virt_ova.target.record.Resumable.seal`."""
        sink = cast("FolderVolume", volume).sink
        sink.check_present()
        with examined(sink.path):
            record = file_record(sink.path, file_identity(sink.path), seal_of(sink.path))
        self._note(record)
        return record

    def adopt(self, transfer: Transfer, record: Record, others: Sequence[Record]) -> FolderVolume | None:
        """See `virt_ova.target.record.Resumable.adopt`; comes before `check`."""
        path = Path(record.key["path"])
        with examined(path):
            if not has_identity(path, record.key["file"]) or seal_of(path) != record.key["sealed"]:
                return None
            made = [Path(each.key["path"]) for each in others if each.kind == Kind.FOLDER and is_as_recorded(each)]
        if path.parent not in made or path.parent.parent != self.path or path.name != transfer.image_name:
            return None
        name = path.parent.name
        folder = self._folders.setdefault(name, MachineFolder(path.parent, tuple(made), self._note))
        self._adopted.add(name)
        return FolderVolume(folder, _closed(FileSink.adopt(path)), transfer.image_format)

    def remove(self, record: Record) -> Removal:
        """See `virt_ova.target.record.Recoverable.remove`."""
        return removal.remove(record)

    def close(self) -> None:
        """Nothing is held."""

    def _owner(self, transfer: Transfer) -> str:
        """Name of the first machine that `transfer` is for."""
        if (name := self._machine_of.get(transfer.id)) is None:
            raise TargetError(
                f"the image {quoted(transfer.image_name)} is for no machine of the plan, expected a drive that has it",
                code="E_PLAN_SOURCE",
            )
        return name

    def _folder(self, machine_name: str) -> MachineFolder:
        """The folder of a machine, made when it is first asked for."""
        folder = self._folders.get(machine_name)
        if folder is None or not folder.is_ours:
            folder = MachineFolder.make(self.path / check_file_name(machine_name, "the machine name"), self._note)
            self._folders[machine_name] = folder
        return folder


def _absolute(text: str) -> Path:
    """The folder that is meant by `text`, absolute; it need not exist. Raises `TargetError`."""
    try:
        folder = Path(text).expanduser().absolute()
        is_folder = _is_folder_or_free(folder)
    except (*PATH_ERRORS, RuntimeError) as exc:  # the last one for the home of nobody
        raise TargetError(f"the folder {quoted(text)} cannot be used: {path_problem(exc)}", code="E_CONNECT") from exc
    if not is_folder:
        raise TargetError(f"{quoted(str(folder))} is not a folder", code="E_CONNECT")
    if not is_text(str(folder)):
        raise TargetError(
            f"the folder {quoted(str(folder))} cannot be used: its path has control characters or is not UTF-8, "
            f"and {DOMAIN_FILE} has to name it",
            code="E_CONNECT",
        )
    return folder


def _is_folder_or_free(path: Path) -> bool:
    """Whether `path` is a folder, or nothing is there. Raises `OSError` when that cannot be told."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except FileNotFoundError:
        return True


def _bootable_firmware() -> frozenset[FirmwareKind]:
    """BIOS, which comes with QEMU, and EFI when it is installed."""
    has_efi = any(find_firmware(chipset, secure_boot=False) for chipset in _CHIPSETS)
    return frozenset(FirmwareKind) if has_efi else frozenset({FirmwareKind.BIOS})


def _check_image_name(name: str) -> str:
    """`name`, if it can be a file in a machine's folder beside ours. Raises `TargetError`."""
    if name.lower() in _OWN_FILES:
        raise TargetError(
            f"the image name {quoted(name)} cannot be used, a machine's folder has a file of that name",
            code="E_NAME",
            hint="Change image_name in the plan.",
        )
    return check_file_name(name, "the image name")


def _check_networks(machine: Machine) -> None:
    """Refuse networks of libvirt, which a folder has not, and can make none."""
    for nic in machine.nics:
        if nic.connection.kind in {ConnectionKind.NETWORK, *MADE}:
            raise TargetError(
                f"{quoted(nic.network)} goes to the network {quoted(nic.connection.name)}, and a folder has none",
                code="E_NETWORK",
                hint=f"Use user, none or bridge:NAME, as in --network {quoted(f'{nic.network}=user')}.",
            )


def _firmware_of(machine: Machine) -> EfiFirmware | None:
    """The EFI firmware that `machine` boots with; None for BIOS."""
    if machine.firmware.kind is FirmwareKind.BIOS:
        return None
    firmware = find_firmware(machine.chipset, secure_boot=machine.firmware.secure_boot)
    if firmware is None:
        wanted = "EFI firmware with secure boot" if machine.firmware.secure_boot else "EFI firmware"
        raise TargetError(
            f"no {wanted} for {machine.chipset} is installed here",
            code="E_FIRMWARE",
            hint="Install it: apt install ovmf",
        )
    return firmware


def _closed(sink: FileSink) -> FileSink:
    """`sink` of a file that is complete, for taking it back."""
    sink.close()
    return sink


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise file_error(exc, path, "read") from exc


def _xml(machine: Machine, volumes: Mapping[str, FolderVolume], domain_uuid: str) -> str:
    """Domain XML that names the images by absolute path."""
    sources = {
        key: VolumeSource(image_format=volume.image_format, path=volume.path, backing=volume.backing)
        for key, volume in volumes.items()
    }
    return identified(domain_xml(machine, sources=sources), domain_uuid)


def _command(
    machine: Machine, volumes: Mapping[str, FolderVolume], settings: QemuSettings, firmware: EfiFirmware | None
) -> list[str]:
    """The QEMU command, to be run in the machine's folder."""
    sources = {
        key: VolumeSource(image_format=volume.image_format, path=volume.path_from(machine.name))
        for key, volume in volumes.items()
    }
    return qemu_command(machine, sources=sources, settings=_completed(settings, firmware))


def _script(machine: Machine, volumes: Mapping[str, FolderVolume], firmware: EfiFirmware | None) -> str:
    """The script that runs `machine` on a terminal."""
    backings = filter(None, (volume.backing for volume in volumes.values()))
    command = _command(machine, volumes, QemuSettings(vnc=f"unix:{VNC_SOCKET}"), firmware)
    return run_script(machine.name, command, backings, has_tpm=machine.has_tpm)


def _completed(settings: QemuSettings, firmware: EfiFirmware | None) -> QemuSettings:
    """`settings` with the emulator, the firmware, and where a TPM would be."""
    own_variables = VARIABLES_FILE if settings.keeps_writes or firmware is None else str(firmware.variables)
    return replace(
        settings,
        binary=EMULATOR,
        firmware_code=str(firmware.code) if firmware else "",
        firmware_vars=own_variables if firmware else "",
        tpm_socket=TPM_SOCKET,
    )


def _daemon_command(
    folder: Path,
    machine: Machine,
    volumes: Mapping[str, FolderVolume],
    firmware: EfiFirmware | None,
    *,
    keeps_writes: bool = True,
) -> list[str]:
    """The same for a machine that runs in the background; see `daemon_options`."""
    settings = QemuSettings(
        serial=f"chardev:{CONSOLE}",
        agent=f"socket,path={listening(folder, AGENT_SOCKET)}",
        vnc=f"unix:{escaped(folder, VNC_SOCKET)}",
        keeps_writes=keeps_writes,
    )
    return [*_command(machine, volumes, settings, firmware), *daemon_options(folder)]

"""What holds for every target."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.build.plans import machine, plan, talking_boot_sector, transfer
from tests.contract.conftest import SMALL_BYTES, Bench
from virt_ova.errors import PlanError, SpaceError, TargetError
from virt_ova.plan.machine import Connection, ConnectionKind, FirmwareKind
from virt_ova.plan.plan import ImageFormat
from virt_ova.target.base import Domain, Target, Volume

SIZE = 1 << 20
UUID = "6e3b2b4e-3d55-4c0b-9d1c-0d4f5f0f7a11"
HEAD = b"head" * 1000
TAIL = b"tail" * 300_000


@pytest.fixture
def target(bench: Bench) -> Target:
    return bench.open()


def virt_type(bench: Bench) -> str:
    return "qemu" if bench.runs else "test"


def checked(target: Target, bench: Bench) -> None:
    """`Target.check`, or for a target that takes no bytes the same without an image."""
    if bench.takes_bytes:
        target.check(plan(machine(virt_type=virt_type(bench))), {"disk1": SIZE})


def fill(volume: Volume, content: bytes = HEAD, *, size: int = SIZE) -> None:
    volume.sink.write_at(0, [content])
    volume.sink.finish(size)


@pytest.mark.needs_bytes
def test_a_machine_is_installed_and_removed_without_a_trace(bench: Bench, target: Target) -> None:
    before = bench.snapshot()
    target.check(plan(machine()), {"disk1": SIZE})
    assert bench.snapshot() == before

    volume = target.create_volume(transfer(), SIZE)
    volume.sink.write_at(0, [HEAD[:7], memoryview(HEAD)[7:]])
    volume.sink.write_at(3 << 20, [bytearray(TAIL), b"end"])
    volume.sink.finish(8 << 20)
    content = Path(volume.path).read_bytes()
    assert content == HEAD.ljust(3 << 20, b"\0") + (TAIL + b"end").ljust(5 << 20, b"\0")
    assert Path(volume.path).stat().st_blocks * 512 < 4 << 20
    assert Path(volume.path).stat().st_mode & 0o7777 == 0o600
    assert volume.name.endswith("box-disk1.raw")

    domain = target.define(machine(), {"disk1": volume})
    assert domain.name == "box"
    assert domain.uuid
    domain.discard()
    assert Path(volume.path).exists()
    volume.discard()
    assert bench.snapshot() == before


def _nothing(_target: Target, _volume: Volume) -> list[Domain]:
    return []


def _half(_target: Target, volume: Volume) -> list[Domain]:
    volume.sink.write_at(0, [TAIL])
    return []


def _written(_target: Target, volume: Volume) -> list[Domain]:
    fill(volume)
    return []


def _defined(target: Target, volume: Volume) -> list[Domain]:
    fill(volume)
    return [target.define(machine(), {"disk1": volume})]


def _started(target: Target, volume: Volume) -> list[Domain]:
    domains = _defined(target, volume)
    domains[0].start()
    return domains


@pytest.mark.needs_bytes
@pytest.mark.parametrize("reach", [_nothing, _half, _written, _defined, _started])
def test_rollback_at_each_step_leaves_nothing(
    bench: Bench, target: Target, reach: Callable[[Target, Volume], list[Domain]]
) -> None:
    before = bench.snapshot()
    target.check(plan(machine()), {"disk1": SIZE})
    volume = target.create_volume(transfer(), SIZE)
    for domain in reach(target, volume):
        assert bench.snapshot() != before
        domain.discard()
        domain.discard()
    volume.discard()
    volume.discard()
    assert bench.snapshot() == before


def test_a_definition_comes_and_goes_by_itself(bench: Bench, target: Target) -> None:
    before = bench.snapshot()
    domain = target.define(machine(virt_type=virt_type(bench), transfer=""), {}, uuid=UUID)
    assert (domain.name, domain.uuid) == ("box", UUID)
    assert bench.snapshot() != before
    domain.discard()
    assert bench.snapshot() == before


def test_a_machine_says_how_it_is_started(bench: Bench, target: Target) -> None:
    domain = target.define(machine("my box", virt_type=virt_type(bench), transfer=""), {})
    if bench.name == "dir":
        assert domain.start_command == f"'{bench.folder}/machines/my box/run'"
    else:
        assert domain.start_command == f"virsh -c {shlex.quote(target.uri)} start 'my box'"
    domain.discard()


def test_a_machine_that_exists_is_refused_and_kept(bench: Bench, target: Target) -> None:
    bench.occupy("box")
    before = bench.snapshot()
    one = machine(virt_type=virt_type(bench))
    with pytest.raises(TargetError, match=r"box' exists already$") as caught:
        target.check(plan(one), {"disk1": SIZE})
    assert caught.value.code == "E_EXISTS"
    assert "--name" in caught.value.hint
    assert bench.snapshot() == before


def test_a_machine_that_appears_later_is_kept(bench: Bench, target: Target) -> None:
    checked(target, bench)
    bench.occupy("box")
    before = bench.snapshot()
    empty = machine(virt_type=virt_type(bench), transfer="")
    with pytest.raises(TargetError, match=r"box' exists already$") as caught:
        target.define(empty, {})
    assert caught.value.code == "E_EXISTS"
    assert bench.snapshot() == before


@pytest.mark.needs_bytes
def test_a_volume_that_exists_is_refused_and_kept(bench: Bench, target: Target) -> None:
    target.check(plan(machine()), {"disk1": SIZE})
    first = target.create_volume(transfer(), SIZE)
    fill(first)
    before = bench.snapshot()
    with pytest.raises(TargetError) as caught:
        target.create_volume(transfer(), SIZE)
    assert caught.value.code == "E_EXISTS"
    assert "box-disk1.raw" in str(caught.value)
    assert "already" in str(caught.value)
    assert bench.snapshot() == before
    first.discard()


@pytest.mark.needs_bytes
def test_a_volume_that_exists_is_found_by_the_check(bench: Bench, target: Target) -> None:
    target.check(plan(machine()), {"disk1": SIZE})
    first = target.create_volume(transfer(), SIZE)
    with pytest.raises(TargetError) as caught:
        bench.open().check(plan(machine()), {"disk1": SIZE})
    assert caught.value.code == "E_EXISTS"
    first.discard()


def test_a_definition_that_fails_leaves_the_volume_only(bench: Bench, target: Target) -> None:
    checked(target, bench)
    before = bench.snapshot()
    with pytest.raises(PlanError) as caught:
        target.define(machine(virt_type=virt_type(bench)), {})
    assert caught.value.code == "E_PLAN_SOURCE"
    assert bench.snapshot() == before


def test_too_little_room_is_refused_before_the_first_byte(bench: Bench, target: Target) -> None:
    before = bench.snapshot()
    with pytest.raises(SpaceError, match=r" has [0-9.]+ [KMGT]iB free, the images need 1024\.0 TiB$") as caught:
        target.check(plan(machine(virt_type=virt_type(bench))), {"disk1": 1 << 50})
    assert caught.value.code == "E_SPACE"
    assert bench.snapshot() == before


@pytest.mark.needs_bytes
def test_running_out_of_room_is_told_and_undone(bench: Bench, small_folder: Path) -> None:
    target = bench.open_small()
    target.check(plan(machine()), {"disk1": SIZE})
    volume = target.create_volume(transfer(), SIZE)
    with pytest.raises(SpaceError) as caught:
        _overfill(volume)
    assert caught.value.code == "E_SPACE"
    assert "box-disk1.raw" in str(caught.value)
    volume.discard()
    assert list(small_folder.iterdir()) == []


def _overfill(volume: Volume) -> None:
    block = b"x" * (256 << 10)
    for offset in range(0, 3 * SMALL_BYTES, len(block)):
        volume.sink.write_at(offset, [block])
    volume.sink.finish(3 * SMALL_BYTES)


def test_an_unknown_network_is_refused(bench: Bench, target: Target) -> None:
    before = bench.snapshot()
    lost = machine(
        virt_type=virt_type(bench), connection=Connection(kind=ConnectionKind.NETWORK, name="no-such-network")
    )
    with pytest.raises(TargetError, match="'no-such-network'") as caught:
        target.check(plan(lost), {"disk1": SIZE})
    assert caught.value.code == "E_NETWORK"
    assert "--network 'VM Network=user'" in caught.value.hint
    assert bench.snapshot() == before


def test_an_unknown_pool_is_refused(bench: Bench) -> None:
    with pytest.raises(TargetError, match="'no-such-pool'") as caught:
        bench.open(pool="no-such-pool")
    assert caught.value.code == "E_POOL"


@pytest.mark.needs_bytes
@pytest.mark.parametrize("name", ["../box", "a/b", "-rf", ".", "", "a\nb", "x" * 300])
def test_an_edited_plan_cannot_leave_its_place(bench: Bench, target: Target, name: str) -> None:
    before = bench.snapshot()
    with pytest.raises(TargetError, match=r"^the (image|volume) name ") as caught:
        target.check(plan(machine(), transfer(name)), {"disk1": SIZE})
    assert caught.value.code == "E_NAME"
    assert bench.snapshot() == before


@pytest.mark.needs_bytes
def test_of_many_at_once_one_gets_the_name(bench: Bench) -> None:
    bench.folder.mkdir(exist_ok=True)  # who made it first need not be who gets the name, and then it stays
    before = bench.snapshot()

    def attempt(_: int) -> Volume | str:
        target = bench.open()
        try:
            target.check(plan(machine()), {"disk1": SIZE})
            return target.create_volume(transfer(), SIZE)
        except TargetError as exc:
            return exc.code

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(attempt, range(8)))
    winners = [result for result in results if not isinstance(result, str)]
    assert sorted(result for result in results if isinstance(result, str)) == ["E_EXISTS"] * 7
    winners[0].discard()
    assert bench.snapshot() == before


@pytest.mark.needs_bytes
def test_a_qcow2_image_is_seen_as_such(target: Target, tmp_path: Path) -> None:
    made = tmp_path / "made.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", made, "64M"], check=True)
    one = transfer("box-disk1.qcow2", capacity=64 << 20, form=ImageFormat.QCOW2)
    target.check(plan(machine(), one), {"disk1": SIZE})
    volume = target.create_volume(one, SIZE)
    fill(volume, made.read_bytes(), size=made.stat().st_size)
    domain = target.define(machine(), {"disk1": volume})
    assert Path(volume.path).read_bytes() == made.read_bytes()
    domain.discard()
    volume.discard()


@pytest.mark.needs_bytes
@pytest.mark.parametrize("firmware", list(FirmwareKind))
def test_what_is_started_is_watched(bench: Bench, target: Target, firmware: FirmwareKind) -> None:
    chipset = "q35" if firmware is FirmwareKind.EFI else "pc"
    one = machine(chipset=chipset, firmware=firmware)
    before = bench.snapshot()
    target.check(plan(one), {"disk1": SIZE})
    volume = target.create_volume(transfer(), SIZE)
    fill(volume, talking_boot_sector(b"Linux version 6.1\r\nbox login: "))
    domain = target.define(one, {"disk1": volume})
    begun = time.monotonic()
    report = domain.watch(60 if firmware is FirmwareKind.BIOS else 1)
    if firmware is FirmwareKind.BIOS:
        assert report.state == "login"
        assert report.evidence.endswith("Linux version 6.1\nbox login:")
        assert 0 < report.seconds <= time.monotonic() - begun
    else:
        assert report.state in {"no-output", "firmware"}
    domain.discard()
    volume.discard()
    assert bench.snapshot() == before

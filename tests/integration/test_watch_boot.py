"""What the command line tells of a machine that it started. Its disk has nothing to boot, which is soon seen."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.build.command import error_lines, json_of, virt_ova
from tests.build.small import small_ova
from virt_ova.target.boot.picture import read_picture
from virt_ova.target.directory.domain import stop

QEMU = "/usr/bin:/bin"
SIGN = "Boot failed: not a bootable disk"
RFB = b"RFB 003.008\n"
"""How a VNC server greets (RFC 6143, 7.1.1)."""


@pytest.fixture
def words(tmp_path: Path) -> Iterator[tuple[str | Path, ...]]:
    ova = small_ova(tmp_path / "a.ova")
    yield ("install", ova, "-c", f"dir:{tmp_path}/m", "--virt-type", "qemu", "--wait-boot", "200")
    if (tmp_path / "m" / "vm").exists():
        stop(tmp_path / "m" / "vm")


def test_a_person_reads_what_was_seen_and_how_to_get_there(words: tuple[str | Path, ...], tmp_path: Path) -> None:
    done = virt_ova(*words, "--screenshots", tmp_path / "shots", path=QEMU)
    assert done.returncode == 0, done.stderr
    told = done.stdout[done.stdout.index("Booted: ") :].splitlines()
    assert told[0].startswith("Booted: firmware after ")
    assert told[1] == "  the serial console is silent; the screen says:"
    folder = tmp_path / "m" / "vm"
    assert told[-7:] == [
        "  No bootable device.",
        f"  there is nothing to boot on its disk: {SIGN}",
        f"  screen: still (720x400), '{tmp_path}/shots/vm.png'",
        "Reach vm:",
        f"  console  socat -,raw,echo=0,escape=0x1d UNIX-CONNECT:{folder}/console.sock",
        f"  screen   vncviewer {folder}/vnc.sock",
        f"  monitor  socat - UNIX-CONNECT:{folder}/monitor.sock",
    ]
    picture = read_picture((tmp_path / "shots" / "vm.png").read_bytes())
    assert picture is not None
    assert (picture.width, picture.height) == (720, 400)
    assert [path.name for path in (tmp_path / "shots").iterdir()] == ["vm.png"]


def test_the_console_the_screen_and_the_monitor_answer(words: tuple[str | Path, ...], tmp_path: Path) -> None:
    assert virt_ova(*words, path=QEMU).returncode == 0
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.connect(str(tmp_path / "m" / "vm" / "monitor.sock"))
        monitor.sendall(b"info status\n")
        deadline, said = time.monotonic() + 30, b""
        while b"VM status: running" not in said:
            assert time.monotonic() < deadline
            said += monitor.recv(4096)
    with socket.socket(socket.AF_UNIX) as console:
        console.connect(str(tmp_path / "m" / "vm" / "console.sock"))
    assert _greeting(tmp_path / "m" / "vm" / "vnc.sock") == RFB


def test_a_program_reads_the_same(words: tuple[str | Path, ...], tmp_path: Path) -> None:
    done = virt_ova(*words, "--json", "--report", tmp_path / "report.json", path=QEMU)
    result = json_of(done)
    assert json.loads((tmp_path / "report.json").read_text()) == result
    assert result["boots"] == [result["booted"]]
    booted = result["booted"]
    assert {key: booted[key] for key in ("machine", "state", "address", "disk", "disk_sign", "screen")} == {
        "machine": "vm",
        "state": "firmware",
        "address": "",
        "disk": "empty",
        "disk_sign": SIGN,
        "screen": {"state": "still", "width": 720, "height": 400, "color": "#000000", "file": ""},
    }
    reach = result["domains"][0]["reach"]
    assert reach["vnc"] == f"{tmp_path}/m/vm/vnc.sock"
    assert sorted(reach) == ["addresses", "console", "monitor", "screen", "ssh", "vnc"]
    assert reach["addresses"] == []


def test_pictures_of_an_earlier_run_are_replaced_and_nothing_else(
    words: tuple[str | Path, ...], tmp_path: Path
) -> None:
    shots = tmp_path / "shots"
    shots.mkdir()
    (shots / "vm.png").write_bytes(b"\x89PNG and so on")
    assert virt_ova(*words, "--screenshots", shots, path=QEMU).returncode == 0
    assert read_picture((shots / "vm.png").read_bytes()) is not None
    (shots / "other.png").write_bytes(b"mine")
    done = virt_ova(*words, "--name", "other", "--screenshots", shots, path=QEMU)
    stop(tmp_path / "m" / "other")
    assert done.returncode == 1
    assert (shots / "other.png").read_bytes() == b"mine"
    assert done.stderr.endswith(
        f"virt-ova: error: the screenshot '{shots}/other.png' cannot be written: it is there, and is no picture "
        "[E_OUTPUT]\n"
    )
    assert "Booted: firmware" in done.stdout


@pytest.mark.parametrize("option", ["--boot-fallback", "--screenshots=shots"])
def test_who_wants_to_see_must_say_how_long(option: str, tmp_path: Path) -> None:
    done = virt_ova("install", small_ova(tmp_path / "a.ova"), "-c", f"dir:{tmp_path}/m", option)
    name = option.partition("=")[0]
    message = f"{name} needs --wait-boot SECONDS, which says how long a machine is watched"
    assert (done.returncode, done.stderr) == (2, error_lines("E_USAGE", message, "Run 'virt-ova --help'."))
    assert not (tmp_path / "m").exists()


def test_a_folder_for_pictures_that_cannot_be_made_is_refused_first(
    words: tuple[str | Path, ...], tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    done = virt_ova(*words, "--screenshots", tmp_path / "file")
    message = f"--screenshots '{tmp_path}/file': this is no folder"
    assert (done.returncode, done.stderr) == (2, error_lines("E_USAGE", message, "Run 'virt-ova --help'."))
    assert not (tmp_path / "m").exists()


def test_a_machine_that_only_starts_can_be_reached_too(words: tuple[str | Path, ...], tmp_path: Path) -> None:
    done = virt_ova(*words[:-2], "--start", path=QEMU)
    assert "Booted" not in done.stdout
    assert (
        f"\nReach vm:\n  console  socat -,raw,echo=0,escape=0x1d UNIX-CONNECT:{tmp_path}/m/vm/console.sock\n"
        in done.stdout
    )


def test_a_port_of_the_guest_can_be_forwarded_from_the_script(words: tuple[str | Path, ...], tmp_path: Path) -> None:
    """As the script's own comment says; so is the screen where that says it is."""
    assert virt_ova(*words[:-2], path=QEMU).returncode == 0
    script = tmp_path / "m" / "vm" / "run"
    (line,) = (line for line in script.read_text().splitlines() if "hostfwd=" in line)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = line.partition("./run ")[2].replace("2222", str(port)).split()
    with subprocess.Popen([script, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 30
            screen = script.with_name("vnc.sock")
            while not (_listens(port) and screen.exists()):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
            assert _greeting(screen) == RFB
        finally:
            process.kill()


def _greeting(path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX) as screen:
        screen.settimeout(30)
        screen.connect(str(path))
        return screen.recv(len(RFB))


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

"""Properties and licences through the command line, up to what a guest reads on its CD."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

import virt_ova as library
from tests.build.asking import DEFAULT, HOSTNAME, ROOT, SECRET, asking_ova, told
from tests.build.command import error_lines, json_of, virt_ova
from tests.build.ova import build_ova, with_manifest
from tests.build.small import edited, listing, small_members
from tests.build.terminal import talk
from tests.build.vapp import vapp_members

FILES = ["vm", "vm/domain.xml", "vm/run", "vm/vm-disk1.qcow2", "vm/vm-ovfenv.iso"]
TOLD = {"hostname": "web", "root-pw": SECRET, "serial": "7", "net.ip": "dhcp"}


@pytest.fixture
def ova(tmp_path: Path) -> Path:
    return asking_ova(tmp_path / "a.ova")


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    path = tmp_path / "secrets"
    path.write_text(f"root-pw={SECRET}\n")
    path.chmod(0o600)
    return path


class TestInspect:
    def test_what_is_asked_and_what_must_be_accepted(self, tmp_path: Path) -> None:
        """Of two properties of one name it says whose they are, as ``--property`` takes them."""
        product = (
            '<ProductSection><Info>P</Info><Property ovf:key="{}" ovf:type="string" ovf:value="{}"/></ProductSection>'
        )
        os_section = "<OperatingSystemSection"
        members = edited(vapp_members(("db", "web")), os_section, product.format("host", "h") + os_section)
        licence = "<EulaSection><Info>E</Info><License>Be good</License></EulaSection>"
        members = edited(members, "<Name>shop</Name>", f"<Name>shop</Name>{licence}{product.format('zone', 'z')}")
        done = virt_ova("inspect", build_ova(tmp_path / "a.ova", with_manifest(members)))
        assert done.stdout.splitlines()[-5:] == [
            "properties",
            "  zone      string  z",
            "  db:host   string  h",
            "  web:host  string  h",
            "licences to accept: 1; --eulas shows them",
        ]

    def test_a_guest_that_is_not_named(self, tmp_path: Path) -> None:
        section = (
            '<OperatingSystemSection ovf:id="96" vmw:osType="debian12_64Guest"><Info>OS</Info></OperatingSystemSection>'
        )
        done = virt_ova("inspect", build_ova(tmp_path / "a.ova", edited(small_members(), section, "")))
        assert "  guest     -\n" in done.stdout


class TestInstall:
    def test_the_guest_is_told(self, ova: Path, secrets: Path, tmp_path: Path) -> None:
        words = ("--property", "hostname=web", "--property-file", secrets, "--report", tmp_path / "report")
        done = virt_ova("install", ova, "-c", f"dir:{tmp_path}/m", *words)
        assert done.returncode == 0, done.stderr
        disc = tmp_path / "m" / "vm" / "vm-ovfenv.iso"
        assert told(disc) == TOLD
        assert stat.S_IMODE(disc.stat().st_mode) == 0o600
        assert listing(tmp_path / "m") == FILES
        others = [path for path in tmp_path.rglob("*") if path.is_file() and path not in {secrets, disc}]
        assert not [path for path in others if SECRET.encode() in path.read_bytes()]
        assert SECRET not in done.stdout + done.stderr
        assert json.loads((tmp_path / "report").read_text())["volumes"][1] == {
            "name": "vm/vm-ovfenv.iso",
            "path": str(disc),
            "pool": "",
            "capacity_bytes": disc.stat().st_size,
            "mode": "expand",
        }

    def test_what_is_missing_is_left_out_and_said(self, ova: Path, tmp_path: Path) -> None:
        done = virt_ova("install", ova, "-c", f"dir:{tmp_path}/m")
        assert done.returncode == 0
        assert told(tmp_path / "m" / "vm" / "vm-ovfenv.iso") == {"serial": "7", "net.ip": "dhcp"}
        for key in ("hostname", "root-pw"):
            line = f"  warning: the property '{key}' has no value: the guest is not told of it [PROPERTY_MISSING]\n"
            assert line in done.stdout

    def test_by_the_library(self, ova: Path, tmp_path: Path) -> None:
        options = library.InstallOptions(properties={"hostname": "web", "vm:root-pw": SECRET})
        with library.open_package(ova) as package:
            result = library.install(package, f"dir:{tmp_path}/m", options=options)
            assert package.envelope.disks  # it is still open
        assert SECRET not in repr(result) + repr(options)
        assert told(tmp_path / "m" / "vm" / "vm-ovfenv.iso") == TOLD

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            (
                "hostname=too-long-a-name",
                "the value of 'hostname' does not fit: expected at most 8 characters, found 'too-long-a-name'",
            ),
            (
                "root-pw=short",
                "the value of 'root-pw' does not fit: expected at least 8 characters, found one that is not shown",
            ),
            ("serial=8", "the property 'serial' was given a value, and the package lets nobody change it"),
        ],
    )
    def test_a_value_that_does_not_fit(self, ova: Path, tmp_path: Path, values: str, message: str) -> None:
        (tmp_path / "p").write_text(values)
        (tmp_path / "p").chmod(0o600)
        for verb in ("install", "plan"):
            done = virt_ova(verb, ova, "-c", f"dir:{tmp_path}/m", "--property-file", tmp_path / "p")
            assert (done.returncode, done.stderr) == (1, error_lines("E_PROPERTY", message))
        assert not (tmp_path / "m").exists()

    def test_a_name_that_is_taken_leaves_nothing(self, ova: Path, tmp_path: Path) -> None:
        (tmp_path / "m" / "vm").mkdir(parents=True)
        assert virt_ova("install", ova, "-c", f"dir:{tmp_path}/m").returncode == 1
        assert listing(tmp_path / "m") == ["vm"]


class TestPlan:
    def plan(self, ova: Path, tmp_path: Path, *words: str | Path) -> Path:
        done = virt_ova("plan", ova, "-c", f"dir:{tmp_path}/m", *words)
        assert done.returncode == 0, done.stderr
        assert SECRET not in done.stdout + done.stderr
        (tmp_path / "plan.json").write_text(done.stdout)
        return tmp_path / "plan.json"

    def test_passwords_are_given_again(self, ova: Path, secrets: Path, tmp_path: Path) -> None:
        plan = self.plan(ova, tmp_path, "--property", "hostname=web", "--property-file", secrets)
        install = ("install", ova, "-c", f"dir:{tmp_path}/m", "--plan", plan)
        done = virt_ova(*install)
        message = "the password 'root-pw' is not known: a plan does not hold it"
        hint = "Give it with --property-file, in the environment, or when asked on a terminal."
        assert (done.returncode, done.stderr) == (1, error_lines("E_PROPERTY", message, hint))
        assert not (tmp_path / "m").exists()
        assert virt_ova(*install, VIRT_OVA_PROPERTY_ROOT_PW=SECRET).returncode == 0
        assert told(tmp_path / "m" / "vm" / "vm-ovfenv.iso") == TOLD

    def test_an_edited_plan_decides(self, ova: Path, secrets: Path, tmp_path: Path) -> None:
        plan = self.plan(ova, tmp_path, "--property", "hostname=web", "--property-file", secrets)
        document = json.loads(plan.read_text())
        settings = document["entities"][0]["properties"]
        settings[0]["value"] = "edited"
        settings.append({"key": "user-data", "value": "bm9uZQ=="})
        plan.write_text(json.dumps(document))
        secrets.write_text(secrets.read_text() + "hostname=file\n")
        words = ("--plan", plan, "--property-file", secrets)
        assert virt_ova("install", ova, "-c", f"dir:{tmp_path}/m", *words).returncode == 0
        expected = TOLD | {"hostname": "edited", "user-data": "bm9uZQ=="}
        assert told(tmp_path / "m" / "vm" / "vm-ovfenv.iso") == expected

    def test_property_says_what_a_plan_says(self, ova: Path, tmp_path: Path) -> None:
        done = virt_ova("install", ova, "--plan", self.plan(ova, tmp_path), "--property", "hostname=x")
        assert done.returncode == 2
        assert "--plan cannot be combined with options that decide what the plan says" in done.stderr


class TestLicences:
    TEXTS = ("Be kind.\n\n\tOr else.", "x" * 300 + "&#x202e;end")

    def test_they_are_shown_whole_and_escaped(self, tmp_path: Path) -> None:
        ova = asking_ova(tmp_path / "a.ova", "", *self.TEXTS)
        done = virt_ova("inspect", "--eulas", ova)
        assert done.stdout == "Be kind.\n\n        Or else.\n" + "x" * 300 + "\\u202eend\n"
        document = json_of(virt_ova("inspect", "--eulas", "--json", ova))
        assert (document["eulas"], document["eula_texts"][0]) == (2, "Be kind.\n\n\tOr else.")

    def test_an_install_needs_consent_and_a_plan_can_hold_it(self, tmp_path: Path) -> None:
        ova = asking_ova(tmp_path / "a.ova", "", *self.TEXTS)
        install = ("install", ova, "-c", f"dir:{tmp_path}/m")
        hint = "Read with 'virt-ova inspect --eulas', then install with --accept-eulas."
        message = "the package has 2 licence texts, and nobody accepted them"
        for words in ((), ("--dry-run",)):
            done = virt_ova(*install, *words)
            assert (done.returncode, done.stderr) == (1, error_lines("E_EULA", message, hint))
        assert not (tmp_path / "m").exists()
        done = virt_ova("plan", ova, "-c", f"dir:{tmp_path}/m", "--accept-eulas")
        (tmp_path / "plan.json").write_text(done.stdout)
        assert virt_ova(*install, "--plan", tmp_path / "plan.json").returncode == 0
        assert virt_ova(*install, "--accept-eulas", "--name", "other").returncode == 0


class TestTerminal:
    def test_what_is_missing_is_asked_for(self, ova: Path, tmp_path: Path) -> None:
        answers = [
            ("\nhostname: ", "much too long\n"),
            ("expected at most 8 characters, found 'much too long'\nhostname: ".replace("\n", "\r\n"), "web\n"),
            ("root-pw: ", "short\n"),
            ("the same again: ", "short\n"),
            ("root-pw: ", f"{SECRET}\n"),
            ("the same again: ", "another\n"),
            ("the two differ\r\nroot-pw: ", f"{SECRET}\n"),
            ("the same again: ", f"{SECRET}\n"),
        ]
        said = talk(("install", ova, "-c", f"dir:{tmp_path}/m"), answers)
        assert said.status == 0, said.shown
        assert told(tmp_path / "m" / "vm" / "vm-ovfenv.iso") == TOLD
        assert "hunter2" not in said.shown
        assert "The package asks for these properties. Enter alone leaves one out.\n" in said.shown
        expected = "  expected: at least 1 character, at most 8 characters\n"
        assert f"\n  Host name\n  How it is called \\u202e\n{expected}hostname: " in said.shown

    def test_nothing_that_was_given_or_has_a_value_is_asked_for(self, tmp_path: Path, secrets: Path) -> None:
        ova = asking_ova(tmp_path / "a.ova", ROOT + DEFAULT)
        said = talk(("install", ova, "-c", f"dir:{tmp_path}/m", "--property-file", secrets), [])
        assert (said.status, "asks for" in said.shown) == (0, False)

    def test_an_empty_answer_and_the_end_of_the_input_leave_out(self, ova: Path, tmp_path: Path) -> None:
        said = talk(("install", ova, "-c", f"dir:{tmp_path}/m"), [("\nhostname: ", "\n"), ("root-pw: ", "\x04")])
        assert said.status == 0, said.shown
        assert told(tmp_path / "m" / "vm" / "vm-ovfenv.iso") == {"serial": "7", "net.ip": "dhcp"}

    def test_ctrl_c_ends_it(self, ova: Path, tmp_path: Path) -> None:
        said = talk(("install", ova, "-c", f"dir:{tmp_path}/m"), [("\nhostname: ", "\x03")])
        assert (said.status, (tmp_path / "m").exists()) == (130, False)
        assert "stopped by SIGINT [E_INTERRUPTED]" in said.shown

    def test_a_program_is_asked_nothing(self, ova: Path, tmp_path: Path) -> None:
        said = talk(("install", ova, "-c", f"dir:{tmp_path}/m", "--json"), [])
        assert (said.status, "hostname: " in said.shown) == (0, False)

    def test_only_the_passwords_of_a_plan_are_asked_for(self, tmp_path: Path, secrets: Path) -> None:
        ova = asking_ova(tmp_path / "a.ova", HOSTNAME + ROOT)
        plan = virt_ova("plan", ova, "-c", f"dir:{tmp_path}/m", "--property-file", secrets).stdout
        (tmp_path / "plan.json").write_text(plan)
        answers = [
            ("Password\r\n  expected: at least 8 characters\r\nroot-pw: ", f"{SECRET}\n"),
            ("again: ", f"{SECRET}\n"),
        ]
        said = talk(("install", ova, "-c", f"dir:{tmp_path}/m", "--plan", tmp_path / "plan.json"), answers)
        assert (said.status, "hostname: " in said.shown) == (0, False), said.shown
        assert told(tmp_path / "m" / "vm" / "vm-ovfenv.iso") == {"root-pw": SECRET}

    @pytest.mark.parametrize(("answer", "status"), [("yes", 0), ("Y", 0), ("no", 1), ("", 1)])
    def test_licences_are_shown_by_the_page_and_asked_for(self, tmp_path: Path, answer: str, status: int) -> None:
        long = "\n".join(f"Clause {number}" for number in range(30))
        ova = asking_ova(tmp_path / "a.ova", "", long)
        answers = [("-- 8 more lines; Enter goes on -- ", "\n"), ("Do you accept it? (yes/no) ", f"{answer}\n")]
        said = talk(("install", ova, "-c", f"dir:{tmp_path}/m"), answers)
        assert (said.status, (tmp_path / "m").exists()) == (status, status == 0), said.shown
        assert ("[E_EULA]" in said.shown) is bool(status)
        assert "Clause 29" in said.shown

    def test_with_a_plan_nothing_is_asked(self, tmp_path: Path) -> None:
        ova = asking_ova(tmp_path / "a.ova", DEFAULT, "Be kind.")
        plan = virt_ova("plan", ova, "-c", f"dir:{tmp_path}/m", "--accept-eulas").stdout
        (tmp_path / "plan.json").write_text(plan)
        said = talk(("install", ova, "-c", f"dir:{tmp_path}/m", "--plan", tmp_path / "plan.json"), [])
        assert said.status == 0, said.shown


def test_a_password_on_the_command_line_is_refused_and_not_repeated(ova: Path, tmp_path: Path) -> None:
    done = virt_ova("install", ova, "-c", f"dir:{tmp_path}/m", "--property", f"root-pw={SECRET}")
    message = "the property 'root-pw' is a password, and a command line can be read by everyone"
    hint = "Give it with --property-file, as VIRT_OVA_PROPERTY_ROOT_PW, or when asked on a terminal."
    assert (done.returncode, done.stdout, done.stderr) == (1, "", error_lines("E_PROPERTY", message, hint))
    assert not (tmp_path / "m").exists()

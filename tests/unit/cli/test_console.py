import json

import pytest

from virt_ova.cli.console import MAX_ERROR_CHARACTERS, Console, finding_lines, table, told, trust_line
from virt_ova.errors import TargetError
from virt_ova.findings import Finding, Severity
from virt_ova.package.verify import Trust


def test_a_result_is_lines_or_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    Console(is_json=False).document({"a": 1}, ["one", "two"])
    assert capsys.readouterr() == ("one\ntwo\n", "")
    Console(is_json=True).document({"a": "ü\x9b"}, ["one"])
    assert capsys.readouterr() == ('{\n  "a": "\\u00fc\\u009b"\n}\n', "")


def test_an_error_goes_to_stderr_and_with_json_to_stdout_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    error = TargetError("no such pool", code="E_POOL", hint="Choose one.")
    told = "virt-ova: error: no such pool [E_POOL]\n  hint: Choose one.\n"
    Console(is_json=False).error(error)
    assert capsys.readouterr() == ("", told)
    Console(is_json=True).error(error)
    out, shown = capsys.readouterr()
    assert (json.loads(out), shown) == (error.document(), told)


def test_an_error_has_an_end(capsys: pytest.CaptureFixture[str]) -> None:
    Console(is_json=False).error(TargetError("x" * 100_000, code="E_POOL"))
    assert len(capsys.readouterr().err) == MAX_ERROR_CHARACTERS + 1


def test_what_is_told_unasked() -> None:
    codes = {"NETWORK_DEFAULT": True, "OPTION_DEFAULT": True, "HW_MAPPED": False}
    infos = [Finding(code=code, severity=Severity.INFO, message="m") for code in codes]
    others = [Finding(code="A", severity=each, message="m") for each in (Severity.WARNING, Severity.ERROR)]
    assert told([*infos, *others]) == [*(each for each in infos if codes[each.code]), *others]


def test_findings_by_severity_with_their_place() -> None:
    findings = [
        Finding(code="A", severity=Severity.INFO, message="a note"),
        Finding(code="B", severity=Severity.ERROR, message="an error", where="disk\x1b1"),
        Finding(code="C", severity=Severity.WARNING, message="a warning"),
    ]
    error, warning = r"  error: disk\x1b1: an error [B]", "  warning: a warning [C]"
    assert finding_lines(findings) == [error, warning, "  info: a note [A]"]
    assert finding_lines([]) == []


def test_a_table_is_aligned_and_has_no_blanks_at_its_ends() -> None:
    assert table([("a", "long", "x"), ("abc", "b", "")]) == ["  a    long  x", "  abc  b"]
    assert table([]) == []


@pytest.mark.parametrize("trust", Trust)
def test_every_trust_has_a_sentence(trust: Trust) -> None:
    assert trust_line(trust).startswith(f"trust: {trust} (")

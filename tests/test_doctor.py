"""The doctor: what works is told, what does not comes with a remedy, and the exit code says
which."""

from __future__ import annotations

import json

from oncue import cli
from oncue.doctor import FAILED, FINE, NOTED


def test_a_working_machine(tiny_model_folder, capsys) -> None:
    assert cli.main(["doctor", "--model", str(tiny_model_folder), "--device", "cpu", "--json"]) == 0
    findings = {f["name"]: f for f in map(json.loads, capsys.readouterr().out.splitlines())}
    assert {"python", "torch", "av", "codecs", "device", "video", "model", "turn"} <= set(findings)
    assert {f["status"] for f in findings.values()} <= {FINE, NOTED}


def test_a_model_that_is_not_there(tmp_path, capsys) -> None:
    assert cli.main(["doctor", "--model", str(tmp_path / "none")]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith(FAILED) and "model" in line for line in lines)
    assert not any(
        line.split()[1] == "turn" for line in lines if line.startswith((FINE, NOTED, FAILED))
    )
    assert lines[-1] == "1 of 12 checks failed"

"""Coq without bubblewrap: nothing runs unless the flag is given, and the error names the flag."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sparring.cli import app
from sparring.errors import SparringError

PROGRAMS = ("coqidetop.opt", "coqc", "coqchk", "coqdep", "prlimit", "env", "setpriv")
pytestmark = pytest.mark.skipif(
    any(shutil.which(name) is None for name in PROGRAMS), reason="Coq is not installed (Debian: apt-get install coq)"
)


@pytest.fixture(autouse=True)
def without_bubblewrap(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = tmp_path_factory.mktemp("tools")
    for name in PROGRAMS:
        found = shutil.which(name)
        assert found is not None
        (tools / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(tools))


@pytest.fixture
def commands(tmp_path: Path) -> list[list[str]]:
    file = tmp_path / "F.v"
    file.write_text("Lemma a : True.\nAdmitted.\nLemma b : True.\nProof. exact I. Qed.\n")
    trace = ["trace", "coq", f"--library={file}", f"--out={tmp_path / 'out.parquet'}", "--no-premises"]
    return [["prove", str(file)], trace]


@pytest.mark.parametrize("number", [0, 1])
def test_it_is_refused_and_the_flag_is_named(commands: list[list[str]], number: int):
    with pytest.raises(SparringError, match=r"without a sandbox: bubblewrap is not installed.*--allow-unsandboxed"):
        CliRunner().invoke(app, commands[number], catch_exceptions=False)


@pytest.mark.parametrize(("number", "words"), [(0, "1 of 1 holes proved"), (1, "1 replayed (100.00 %)")])
def test_with_the_flag_it_runs_with_a_warning(commands: list[list[str]], number: int, words: str):
    with pytest.warns(RuntimeWarning, match="runs without a sandbox"):
        done = CliRunner().invoke(app, [*commands[number], "--allow-unsandboxed"], catch_exceptions=False)
    assert words in done.output
    assert done.exit_code == 0

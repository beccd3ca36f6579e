"""Fixtures that several modules share."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest


def run_cli(*words: object) -> int:
    """The exit status of a ``sparring`` command that runs in this process and leaves no trace in it."""
    from sparring import cli

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["sparring", *map(str, words)])
            patch.setattr(sys, "path", [*sys.path])
            with pytest.raises(SystemExit) as stopped:
                cli.main()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished run of ``tests/small.py``, played by the command line and never changed; its recipe lies two folders up."""
    from tests.small import write_recipe

    folder = tmp_path_factory.mktemp("small")
    recipe = write_recipe(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run_cli("play", recipe) == 0
    return folder / "runs" / "small"

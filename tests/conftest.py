"""Fixtures that several modules share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished run of ``tests/small.py``, played by the command line and never changed; its recipe lies two folders up."""
    from sparring import cli
    from tests.small import write_recipe

    folder = tmp_path_factory.mktemp("small")
    recipe = write_recipe(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["sparring", "play", str(recipe)])
        patch.setattr(sys, "path", [*sys.path])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
    assert stopped.value.code == 0
    return folder / "runs" / "small"

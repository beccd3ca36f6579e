"""Makes the server: one file of OCaml, linked against the Coq that is installed, in the user's cache folder.

Each version of the file and each installation of Coq has a folder of its own there, so that what is found is what would be built. It is
made elsewhere and moved in when it is whole: any number of processes may build at the same time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

from sparring.errors import SparringError

NAME = "coq-snapshots"
"""What the program is called."""
PACKAGE = "coq-core.toplevel"
BUILD_S = 600.0
_QUERY_S = 60.0
_INSTALL = (
    "on Debian: apt-get install -y --no-install-recommends ocaml-findlib libcoq-core-ocaml-dev; or leave backend at coqidetop"
)


def missing() -> str | None:
    """Why the server cannot be built here; None if it can, or if that is only found out by building."""
    for program in ("coqc", "ocamlfind", "ocamlopt"):
        if shutil.which(program) is None:
            return f"{program} is not there, and Coq's server of snapshots is built with it; {_INSTALL}"
    if not _coqc().is_relative_to("/usr"):
        return f"Coq's server of snapshots needs a Coq in /usr, and this is {_coqc()}; leave backend at coqidetop"
    found = subprocess.run(["ocamlfind", "query", PACKAGE], capture_output=True, timeout=_QUERY_S, check=False)
    return f"{PACKAGE} is not there, and Coq's server of snapshots is linked against it; {_INSTALL}" if found.returncode else None


def server() -> Path:
    """The program; it is built where it has not been yet, which takes some seconds. Raises SparringError where that is not possible."""
    return _server(os.environ.get("XDG_CACHE_HOME", ""), os.environ.get("PATH", ""))


@cache
def _server(cache_home: str, path: str) -> Path:
    """For these settings of the environment."""
    del path
    if shutil.which("coqc") is None and (why := missing()):
        raise SparringError(why)
    try:
        place = (Path(cache_home) if cache_home else Path.home() / ".cache") / "sparring" / f"{NAME}-{_key()}"
        if not (program := place / "bin" / NAME).is_file():
            if why := missing():
                raise SparringError(why)
            _build(place)
    except (OSError, RuntimeError) as error:  # RuntimeError: nobody knows where home is
        raise SparringError(
            f"Coq's server of snapshots cannot be put into the cache folder: {error}; set XDG_CACHE_HOME to a folder that can be written"
        ) from None
    return program


def source() -> bytes:
    return (files("sparring.envs.coq_snapshots") / "server.ml").read_bytes()


def _coqc() -> Path:
    return Path(shutil.which("coqc") or "coqc").resolve()


def _key() -> str:
    """Of the source and of the Coq that is installed: its version, and its file, since another build has the same version."""
    coqc = _coqc()
    said = subprocess.run([str(coqc), "-print-version"], capture_output=True, timeout=_QUERY_S, check=False).stdout
    seen = coqc.stat()
    return sha256(b"%b\n%b\n%d %d\n" % (source(), said, seen.st_size, seen.st_mtime_ns)).hexdigest()[:16]


def _build(place: Path) -> None:
    """A folder ``bin`` with the program in it, which becomes ``place`` in one go."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="making-", dir=place.parent) as folder:
        whole = Path(folder) / "whole"
        (whole / "bin").mkdir(parents=True)
        file = Path(folder) / "server.ml"
        file.write_bytes(source())
        flags = ["-thread", "-rectypes", "-linkall", "-linkpkg", "-package", PACKAGE]  # plug-ins need all of Coq, and its flags
        command = ["ocamlfind", "ocamlopt", *flags, "-o", str(whole / "bin" / NAME), file.name]
        ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=BUILD_S, check=False)
        if ran.returncode:
            said = " ".join((ran.stderr or ran.stdout).split())[-500:]
            raise SparringError(
                f"Coq's server of snapshots does not build with this Coq (it is made for 8.16): {said}; use coqidetop"
            )
        try:
            whole.rename(place)
        except OSError:
            if not (place / "bin" / NAME).is_file():  # somebody else was faster
                raise

"""A program that a model's text drives, shut in: no network, one writable folder, no environment, bounded time and memory.

bubblewrap makes the room (12 ms a start), prlimit inside it sets the limits. In the room the private folder is ``/private``, the current
folder and HOME and TMPDIR; ``/usr``, the installation of the program and the folders named as readable can be read; everything else
of the machine is not there. Programs must therefore be told about files by names relative to the private folder, and started with
``cwd=folder``: then the same command works without the sandbox, too.

Traps for callers:
- ``--die-with-parent`` means the *thread* that started the program: start it from one that lives as long as the program shall.
- Signals to the started process reach bubblewrap, and SIGINT ends it and with it everything inside: send them to the last of its
  descendants, which is the program.
- Limits are per process, and the file limit is per file.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sparring.errors import SparringError

PRIVATE = "/private"
"""Where the private folder is inside."""
_MB = 1024 * 1024
_ROOT_FOLDERS = ("/bin", "/sbin", "/lib", "/lib32", "/lib64")
_PROBE_TIMEOUT_S = 20.0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Per process: CPU seconds, address space (Coq with mathcomp needs about 0.5 GB), size of a file it writes, and processes at once.

    The number of processes is not enforced for root (Linux exempts root); those of a room end with it in any case.
    """

    cpu_s: int = 120
    memory_mb: int = 4096
    file_mb: int = 64
    processes: int = 64


def available() -> str | None:
    """Why programs cannot be shut in here; None if they can."""
    return _probe(shutil.which("bwrap"), shutil.which("prlimit"))


def wrap(
    argv: Sequence[str],
    folder: Path,
    limits: Limits | None = None,
    *,
    readable: Sequence[Path] = (),
    allow_unsandboxed: bool = False,
) -> list[str]:
    """The command that runs ``argv`` shut in, with ``folder`` as the only place to write to; ``readable``: more that it may read.

    Start it with ``cwd=folder``. Raises SparringError where there is no bubblewrap, unless ``allow_unsandboxed``: then the program
    runs with the rights of this process, still with its limits, a cleared environment and the private folder, and with a warning.
    """
    program = _program(argv[0])
    limited = [_tool("prlimit"), *_prlimit(limits or Limits()), "--", str(program), *argv[1:]]
    path = f"{program.parent}:/usr/bin:/bin"
    why = available()
    if why is None:
        return [*_bwrap(folder, path, [*_installation(program), *readable]), "--", *limited]
    if not allow_unsandboxed:
        raise SparringError(
            f"{argv[0]} would run without a sandbox: {why}; a program that a model's text drives must be shut in. Install bubblewrap, or "
            "set allow_unsandboxed (--allow-unsandboxed) to let it run with your own rights"
        )
    warnings.warn(f"{argv[0]} runs without a sandbox: {why}", RuntimeWarning, stacklevel=2)
    return [_tool("env"), "-i", f"PATH={path}", f"HOME={folder}", f"TMPDIR={folder}", *limited]


def _prlimit(limits: Limits) -> list[str]:
    return [
        f"--cpu={limits.cpu_s}:{limits.cpu_s + 1}",
        f"--as={limits.memory_mb * _MB}",
        f"--fsize={limits.file_mb * _MB}",
        f"--nproc={limits.processes}",
        "--core=0",
    ]


def _bwrap(folder: Path, path: str, readable: Sequence[Path]) -> list[str]:
    """All namespaces of its own; the root folder cannot be written to, nor can /dev, so that nothing fills the memory."""
    command = [_tool("bwrap"), "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    command += ["--uid", "65534", "--gid", "65534", "--ro-bind", "/usr", "/usr"]
    for name in _ROOT_FOLDERS:
        if os.path.islink(name):
            command += ["--symlink", os.readlink(name), name]
        else:
            command += ["--ro-bind-try", name, name]
    command += ["--ro-bind-try", "/etc/ocamlfind.conf", "/etc/ocamlfind.conf"]  # Debian's Coq does not start without it
    for place in readable:
        command += ["--ro-bind", str(place.resolve()), str(place.absolute())]
    command += ["--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"]
    command += ["--bind", str(folder.resolve()), PRIVATE, "--chdir", PRIVATE, "--remount-ro", "/"]
    command += ["--clearenv", "--setenv", "PATH", path, "--setenv", "HOME", PRIVATE, "--setenv", "TMPDIR", PRIVATE]
    return command


def _program(name: str) -> Path:
    """The program's own file, links followed: inside, links from elsewhere lead nowhere."""
    found = shutil.which(name)
    if found is None:
        raise SparringError(f"{name} is not there; install it, or put the folder it is in on PATH")
    return Path(found).resolve()


def _installation(program: Path) -> list[Path]:
    """What the program needs to read beyond /usr: the folder that has its ``bin``, or all of Nix's store."""
    prefix = program.parent.parent
    if prefix.is_relative_to("/usr") or prefix == Path("/"):  # /bin is among the folders that are there
        return []
    if prefix.is_relative_to("/nix/store"):
        return [Path("/nix/store")]
    if Path.home().resolve().is_relative_to(prefix):
        raise SparringError(
            f"{program} cannot be shut in: what is in {prefix} could be read inside, and that is your home; "
            "install it in a folder of its own, such as an opam switch"
        )
    return [prefix]


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise SparringError(f"{name} is not there, and limits need it; install util-linux")
    return str(Path(found).resolve())


@cache
def _probe(bwrap: str | None, prlimit: str | None) -> str | None:
    """Tried once: user namespaces may be forbidden, and old versions lack options."""
    if bwrap is None or prlimit is None:
        return f"{'prlimit' if bwrap else 'bubblewrap'} is not installed"
    command = [*_bwrap(Path("/usr"), "/usr/bin", []), "--", prlimit, *_prlimit(Limits()), "--", _tool("true")]
    try:
        tried = subprocess.run(command, capture_output=True, text=True, timeout=_PROBE_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bubblewrap does not run here: {error}"[:300]
    return f"bubblewrap does not run here: {tried.stderr.strip()}"[:300] if tried.returncode else None

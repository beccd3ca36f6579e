"""What a program that is shut in can do, tried with real programs."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from sparring.envs import sandbox
from sparring.envs.sandbox import Limits, available, wrap
from sparring.errors import SparringError

WHY_NOT = available()
needs_sandbox = pytest.mark.skipif(WHY_NOT is not None, reason=f"no sandbox: {WHY_NOT}")
needs_coq = pytest.mark.skipif(shutil.which("coqc") is None, reason="coqc is not installed")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "private").mkdir()
    return tmp_path / "private"


def shell(command: str, folder: Path, limits: Limits | None = None) -> subprocess.CompletedProcess[str]:
    return run(["sh", "-c", command], folder, limits)


def run(argv: list[str], folder: Path, limits: Limits | None = None, readable: tuple[Path, ...] = ()):
    command = wrap(argv, folder, limits, readable=readable)
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


# -------------------------------------------------------------------------------------------------- files


@needs_sandbox
def test_it_writes_to_its_folder_and_nowhere_else(folder: Path):
    assert shell("echo kept > here && cat here && pwd", folder).stdout == "kept\n/private\n"
    assert (folder / "here").read_text() == "kept\n"
    places = [
        "/",
        "/usr",
        "/usr/lib",
        "/dev",
        "/dev/shm",
        "/proc",
        "/tmp",
        "/etc",
        "/private/..",
        folder.parent,
        folder,
        Path.home(),
    ]
    done = shell("; ".join(f"touch {place}/escaped && echo wrote {place}" for place in places), folder)
    assert done.stdout == ""
    assert sorted(path.name for path in folder.parent.rglob("*")) == ["here", "private"]


@needs_sandbox
def test_it_reads_nothing_private(folder: Path):
    secret = folder.parent / "secret"
    secret.write_text("secret")
    os.symlink(secret, folder / "link")
    files = ["/etc/shadow", "/etc/passwd", secret, "link", "../secret", f"/proc/{os.getpid()}/environ", "/proc/1/root/etc/passwd"]
    for file in files:
        done = shell(f"cat {file}", folder)
        assert (done.returncode, done.stdout) != (0, ""), file
        assert done.stdout == "", file
    assert shell(f"ls {Path.home()} /home /root /var /sys /run", folder).stdout == ""
    assert shell("ls /etc", folder).stdout in ("", "ocamlfind.conf\n")


@needs_sandbox
def test_a_readable_folder_can_be_read_and_no_more(folder: Path):
    project = folder.parent / "project"
    project.mkdir()
    (project / "file").write_text("text")
    done = run(["sh", "-c", f"cat {project}/file; echo x > {project}/file; echo x > {project}/new"], folder, readable=(project,))
    assert done.stdout == "text"
    assert {file.name: file.read_text() for file in project.iterdir()} == {"file": "text"}


@needs_sandbox
def test_a_program_in_a_home_folder_finds_its_own_files(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """As an opam switch is laid out: home/.opam/switch/{bin,lib}."""
    switch = folder.parent / "home" / ".opam" / "switch"
    for name in ("bin", "lib"):
        (switch / name).mkdir(parents=True)
    (switch / "lib" / "data").write_text("found")
    (switch / "bin" / "prover").write_text(f"#!/bin/sh\ncat {switch}/lib/data; cat {switch}/../secret; ls {switch}/..\n")
    (switch / "bin" / "prover").chmod(0o755)
    (switch.parent / "secret").write_text("secret")
    (folder.parent / "bin").mkdir()
    os.symlink(switch / "bin" / "prover", folder.parent / "bin" / "linked")
    monkeypatch.setenv("PATH", f"{folder.parent}/bin:{os.environ['PATH']}")
    for name in (str(switch / "bin" / "prover"), "linked"):
        assert run([name], folder).stdout == "foundswitch\n"
    monkeypatch.setenv("HOME", str(switch))
    with pytest.raises(SparringError, match=r"could be read inside, and that is your home; install it in a folder"):
        wrap(["linked"], folder)


@needs_sandbox
def test_nix_shows_its_store(monkeypatch: pytest.MonkeyPatch):
    assert sandbox._installation(Path("/nix/store/abc-coq/bin/coqc")) == [Path("/nix/store")]
    assert sandbox._installation(Path("/usr/bin/coqc")) == sandbox._installation(Path("/bin/sh")) == []


# -------------------------------------------------------------------------------------------------- the rest of the machine


@needs_sandbox
def test_no_network(folder: Path):
    program = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5); print('connected')"
    with socket.create_server(("127.0.0.1", 0)) as server:
        argv = [sys.executable, "-c", program, str(server.getsockname()[1])]
        assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == "connected\n"
        shut_in = run(argv, folder)
    assert shut_in.stdout == ""
    assert "refused" in shut_in.stderr or "unreachable" in shut_in.stderr


@needs_sandbox
def test_the_environment_is_cleared_and_other_processes_are_out_of_sight(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("API_TOKEN", "secret")
    assert {line.split("=")[0] for line in shell("env", folder).stdout.splitlines()} == {"PATH", "HOME", "TMPDIR", "PWD"}
    assert shell("echo $HOME $TMPDIR", folder).stdout == "/private /private\n"
    assert shell("id -u; hostname >/dev/null; ls -d /proc/[0-9]* | wc -l", folder).stdout.split()[0] == "65534"
    assert shell(f"kill -0 {os.getpid()}", folder).returncode != 0
    assert len(shell("ls -d /proc/[0-9]*", folder).stdout.split()) <= 3


# -------------------------------------------------------------------------------------------------- limits


@needs_sandbox
def test_a_file_cannot_grow_without_end(folder: Path):
    done = shell("head -c 5000000 /dev/zero > big", folder, Limits(file_mb=2))
    assert done.returncode != 0
    assert (folder / "big").stat().st_size == 2 * 1024 * 1024


@needs_sandbox
def test_memory_has_an_end(folder: Path):
    grow = "x = bytearray({} * 1024 * 1024); print(len(x))"
    limits = Limits(memory_mb=300)
    assert run([sys.executable, "-c", grow.format(50)], folder, limits).returncode == 0
    assert "MemoryError" in run([sys.executable, "-c", grow.format(400)], folder, limits).stderr


@needs_sandbox
def test_cpu_time_has_an_end(folder: Path):
    before = time.monotonic()
    assert shell("while :; do :; done", folder, Limits(cpu_s=1)).returncode != 0
    assert time.monotonic() - before < 20


@needs_sandbox
def test_the_number_of_processes_has_an_end():
    """Root is exempt, so root tries it as somebody else."""
    fork = "for i in 1 2 3 4 5 6 7 8 9; do sleep 0.2 & done; wait; echo all"
    somebody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o777)
        for processes, said in ((100, "all\n"), (4, "")):
            command = [*somebody, *wrap(["sh", "-c", fork], Path(name), Limits(processes=processes))]
            assert subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout == said


def test_every_limit_is_passed_on(folder: Path):
    limits = Limits(cpu_s=7, memory_mb=3, file_mb=2, processes=5)
    assert sandbox._prlimit(limits) == ["--cpu=7:8", "--as=3145728", "--fsize=2097152", "--nproc=5", "--core=0"]


# -------------------------------------------------------------------------------------------------- processes


INTERRUPTED = """
import sys, time
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.exit(3)
"""
PARENT = """
import subprocess, sys, time
from pathlib import Path
from sparring.envs.sandbox import wrap
folder = Path(sys.argv[1])
child = subprocess.Popen(wrap(["sleep", "300"], folder), cwd=folder)
print(child.pid, flush=True)
time.sleep(300)
"""


def started(pid: int, name: str) -> psutil.Process:
    """The program inside, once it runs."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        for child in psutil.Process(pid).children(recursive=True):
            if child.name() == name:
                return child
        time.sleep(0.02)
    raise AssertionError(f"{name} was not started")


def gone(process: psutil.Process) -> bool:
    return process in psutil.wait_procs([process], timeout=10)[0]


@needs_sandbox
def test_nothing_survives_the_parent(folder: Path):
    with subprocess.Popen([sys.executable, "-c", PARENT, str(folder)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        inside = started(int(parent.stdout.readline()), "sleep")
        parent.send_signal(signal.SIGKILL)
    assert gone(inside)


@needs_sandbox
def test_a_signal_reaches_the_program(folder: Path):
    command = wrap([sys.executable, "-c", INTERRUPTED], folder)
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        psutil.Process(process.pid).children(recursive=True)[-1].send_signal(signal.SIGINT)
        assert process.stdout.readline() == "interrupted\n"
        assert process.wait(10) == 3


@needs_sandbox
def test_killing_the_command_kills_the_program(folder: Path):
    with subprocess.Popen(wrap(["sleep", "300"], folder), cwd=folder) as process:
        inside = started(process.pid, "sleep")
        process.kill()
    assert gone(inside)


# -------------------------------------------------------------------------------------------------- without bubblewrap


@pytest.fixture
def without_bwrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "env", "prlimit", "head", "sleep"):
        found = shutil.which(name)
        assert found is not None
        os.symlink(found, tools / name)
    monkeypatch.setenv("PATH", str(tools))
    return tools


def test_without_bubblewrap_nothing_runs_unless_it_is_asked_for(folder: Path, without_bwrap: Path):
    assert available() == "bubblewrap is not installed"
    with pytest.raises(
        SparringError, match=r"sh would run without a sandbox: bubblewrap is not installed; .* set allow_unsandboxed"
    ):
        wrap(["sh", "-c", "true"], folder)


def test_without_bubblewrap_limits_and_a_cleared_environment_remain(folder: Path, without_bwrap: Path):
    script = 'echo "$HOME $API_TOKEN"; head -c 3000000 /dev/zero > big; echo $?'
    with pytest.warns(RuntimeWarning, match="sh runs without a sandbox: bubblewrap is not installed"):
        command = wrap(["sh", "-c", script], folder, Limits(file_mb=1), allow_unsandboxed=True)
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=True, env={**os.environ, "API_TOKEN": "secret"}
    )
    assert done.stdout.splitlines()[0] == f"{folder} "
    assert (folder / "big").stat().st_size == 1024 * 1024


def test_a_bubblewrap_that_does_not_work_is_told(folder: Path, without_bwrap: Path):
    (without_bwrap / "bwrap").write_text("#!/bin/sh\necho No permissions to create a new namespace >&2\nexit 1\n")
    (without_bwrap / "bwrap").chmod(0o755)
    os.symlink("/bin/true", without_bwrap / "true")
    assert available() == "bubblewrap does not run here: No permissions to create a new namespace"


def test_a_program_that_is_not_there(folder: Path):
    with pytest.raises(SparringError, match="no_such_prover is not there; install it"):
        wrap(["no_such_prover"], folder)


@needs_sandbox
@needs_coq
def test_coq_works_inside(folder: Path):
    (folder / "t.v").write_text("Require Import Lia. Goal 1 + 1 = 2. lia. Qed.")
    assert run(["coqc", "-q", "t.v"], folder).returncode == 0
    assert run(["coqchk", "-silent", "-norec", "t"], folder).returncode == 0

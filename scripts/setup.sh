#!/bin/sh
# Makes .venv with this package and PyTorch in it, or does nothing where it stands already. Run it through make:
#
#   scripts/setup.sh run    what `make play` needs
#   scripts/setup.sh dev    that, the test tools, and Coq, its server of snapshots and reasoning-gym where they can be installed
#
# Read from the environment (make passes them on, as in `make play PYTHON=python3.12`):
#   VENV     where the environment goes                          .venv
#   PYTHON   the interpreter                                     the first of python3.11, 3.12, 3.13, python3 that is one of these
#   TORCH    pip's requirement for PyTorch, with pip's options   torch==2.13.0 on Linux without an NVIDIA GPU
#   NEED_MB  free disk to insist on                              3000, or 9000 with an NVIDIA GPU (CUDA's libraries)
# pip's own settings (PIP_*, pip.conf: indexes, constraints, certificates) hold as they are.
set -eu
cd "$(dirname "$0")/.."

tools=${1:-run}
venv=${VENV:-.venv}
wanted_python=${PYTHON:-}
# An empty TORCH means: the one that was asked for last time.
torch=${TORCH:-$(cat "$venv/sparring.torch" 2>/dev/null || true)}

say() { printf 'setup: %s\n' "$@"; }
stop() { say "$@" >&2; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }
free_mb() { echo $(($(df -Pk "$1" | awk 'NR == 2 { print $4 }') / 1024)); }
version_of() { if has "$1"; then "$1" -V 2>&1 | head -n 1; else echo missing; fi; }
needs_cpu_build() { [ "$(uname -s)" = Linux ] && ! has nvidia-smi; }

# ---------------------------------------------------------------------------------------------- what stands already

is_wanted() { [ -z "$wanted_python" ] || [ "$(version_of "$wanted_python")" = "$(version_of "$venv/bin/python")" ]; }

# What the environment was made from. The path is in it because an environment does not survive being moved.
stamp() {
    { "$venv/bin/python" -V && pwd && cat pyproject.toml scripts/setup.sh scripts/constraints-cpu.txt; } 2>&1 | cksum
    printf '%s\n' "$torch"
}
is_current() { [ -x "$venv/bin/python" ] && is_wanted && [ "$(stamp)" = "$(cat "$venv/sparring.$1" 2>/dev/null)" ]; }

# Python 3.11 to 3.$2
is_python() { "$1" -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, $2))" 2>/dev/null; }

# Whole: it runs, and no package stopped halfway (pip writes RECORD last).
is_whole() {
    is_python "$venv/bin/python" 99 && is_wanted && "$venv/bin/python" -c 'import pip' 2>/dev/null || return 1
    for info in "$venv"/lib/python3*/site-packages/*.dist-info; do
        [ -f "$info/RECORD" ] || return 1
    done
}

# ---------------------------------------------------------------------------------------------- Python

sudo='sudo '
[ "$(id -u)" != 0 ] || sudo=

# Root on Debian or Ubuntu (a container, CI) gets the missing package; anyone else is told the command.
apt_install() {
    [ "$(id -u)" = 0 ] && has apt-get || return 1
    say "apt-get install $*"
    apt-get update -q || true # one unreachable source need not stop the others
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
}

# Sets $python, to nothing where there is none.
find_python() {
    for python in python3.11 python3.12 python3.13 python3; do
        ! is_python "$python" 13 || return 0
    done
    python=
}

choose_python() {
    if [ -n "$wanted_python" ]; then
        python=$wanted_python # newer than we have tried is the user's choice
        is_python "$python" 99 ||
            stop "PYTHON=$python is not Python 3.11 or newer ($(version_of "$python")), and sparring needs that." \
                "Name another, as in: make PYTHON=/usr/bin/python3.11 ..."
        return
    fi
    find_python
    if [ -z "$python" ] && apt_install python3 python3-venv; then
        find_python
    fi
    [ -n "$python" ] ||
        stop "no Python 3.11, 3.12 or 3.13 here (python3: $(version_of python3)). Debian 12 has it:" \
            "    ${sudo}apt-get update && ${sudo}apt-get install -y python3 python3-venv" \
            "or name one that is installed elsewhere: make PYTHON=/path/to/python3.11 ..."
}

# Debian splits venv's other half, ensurepip, off into a package of its own.
has_venv() { "$python" -c 'import ensurepip, venv' 2>/dev/null; }

check_venv_module() {
    ! has_venv || return 0
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    apt_install "$package" || true
    has_venv ||
        stop "$python cannot make virtual environments (its ensurepip is missing). On Debian and Ubuntu:" \
            "    ${sudo}apt-get update && ${sudo}apt-get install -y $package" \
            "A Python from elsewhere: reinstall it with ensurepip, or name another: make PYTHON=/usr/bin/python3.11 ..."
}

# ---------------------------------------------------------------------------------------------- the environment

remove_half_made() {
    [ -e "$venv" ] || return 0
    # Never delete a folder because VENV was mistyped.
    [ "$venv" = .venv ] || [ -f "$venv/pyvenv.cfg" ] || [ -z "$(ls -A "$venv")" ] ||
        stop "VENV=$venv exists and is no virtual environment; it is left alone. Name another folder."
    say "$venv is half made (interrupted?) or has another Python: making it again"
    rm -rf "$venv"
}

check_disk() {
    if needs_cpu_build; then need_mb=${NEED_MB:-3000}; else need_mb=${NEED_MB:-9000}; fi
    place=$(dirname "$venv")
    mkdir -p "$place"
    [ "$(free_mb "$place")" -ge "$need_mb" ] ||
        stop "not enough disk: $(free_mb "$place") MB free in $(cd "$place" && pwd), and the environment needs $need_mb MB." \
            "Make room, put it elsewhere: make VENV=/path/with/room/sparring-venv ..., or insist: make NEED_MB=0 ..."
}

make_environment() {
    choose_python
    check_venv_module
    remove_half_made
    check_disk
    say "making $venv with $(version_of "$python") ($(command -v "$python"))"
    "$python" -m venv "$venv" || stop "$python -m venv $venv failed; what it said is above"
}

# ---------------------------------------------------------------------------------------------- packages: wheels, so no compiler

# Does one of these constraint files speak of PyTorch?
names_torch() {
    for file in "$@"; do
        ! grep -q '^torch *[=<>~!@]' "$file" 2>/dev/null || return 0
    done
    return 1
}

# shellcheck disable=SC2086  # TORCH and PIP_CONSTRAINT are lists with spaces, as pip reads them
pip_install() {
    if [ -n "$torch" ]; then
        "$venv/bin/python" -m pip install --no-user $torch || return 1
    elif needs_cpu_build && ! names_torch ${PIP_CONSTRAINT:-}; then
        export PIP_CONSTRAINT="${PIP_CONSTRAINT:+$PIP_CONSTRAINT }scripts/constraints-cpu.txt"
    fi
    if [ "$tools" = dev ]; then package='.[dev]'; else package=.; fi
    "$venv/bin/python" -m pip install --no-user --editable "$package"
}

install_packages() {
    say "installing PyTorch and the other packages: about 2 GB, a minute or three"
    temporary=${TMPDIR:-/tmp}
    pip_install ||
        stop "pip failed; what it said is above. Once that is mended, the same make goes on from here." \
            "  no network, or a proxy: pip reads PIP_INDEX_URL, PIP_PROXY and PIP_CERT" \
            "  no such torch:          take one that your index has: make TORCH='torch>=2.4' ..." \
            "  no space:               $(free_mb "$venv") MB free in $venv, $(free_mb "$temporary") MB in $temporary (TMPDIR names another)"
}

# The first import is the check that everything fits together.
check_packages() {
    cuda=$("$venv/bin/python" -c 'import torch, sparring; print(torch.version.cuda or "")') ||
        stop "the packages are installed and do not import; what Python said is above. To start over: rm -rf $venv"
    if [ -n "$cuda" ] && needs_cpu_build; then
        say "this PyTorch came with CUDA $cuda: some GB that this machine has no use for. It works as it is." \
            "For the smaller build: rm -rf $venv, then make TORCH='torch --index-url URL' ... with the CPU index that pytorch's site names"
    fi
}

# ---------------------------------------------------------------------------------------------- provers

# The tests prove with Coq, in bubblewrap's sandbox; without them these tests are skipped, and pytest says so.
get_coq() {
    { has coqc && has bwrap; } || apt_install coq bubblewrap ||
        say "coqc or bwrap is missing, so nothing is tested with Coq. On Debian and Ubuntu: ${sudo}apt-get install -y --no-install-recommends coq bubblewrap"
}

# A second backend for Coq is linked against this library; without it only coqidetop is tested.
has_coq_library() { has ocamlfind && ocamlfind query coq-core.toplevel >/dev/null 2>&1; }
get_coq_library() {
    ! has coqc || has_coq_library || apt_install ocaml-findlib libcoq-core-ocaml-dev ||
        say "Coq's server of snapshots cannot be built, so it is not tested. On Debian and Ubuntu: ${sudo}apt-get install -y --no-install-recommends ocaml-findlib libcoq-core-ocaml-dev"
}
build_coq_server() {
    ! has_coq_library || "$venv/bin/python" -m sparring.envs.coq_snapshots >/dev/null ||
        say "Coq's server of snapshots could not be built, so it is not tested; why is above"
}

# reasoning-gym needs a package that has no wheel, so a C compiler; without it its tests are skipped.
get_gym() {
    has cc || apt_install gcc libc6-dev "$("$venv/bin/python" -c 'import sys; print("python%d.%d-dev" % sys.version_info[:2])')" || true
    "$venv/bin/python" -m pip install --no-user --editable '.[gym]' ||
        say "reasoning-gym could not be installed (it needs a C compiler and Python's headers), so nothing is tested with it"
}

[ "$tools" != dev ] || { get_coq && get_coq_library; }
if is_current dev || { [ "$tools" = run ] && is_current run; }; then
    exit 0
fi
is_whole || make_environment
rm -f "$venv/sparring.run" "$venv/sparring.dev"
install_packages
[ "$tools" != dev ] || get_gym
[ "$tools" != dev ] || build_coq_server
check_packages
printf '%s\n' "$torch" >"$venv/sparring.torch"
stamp >"$venv/sparring.$tools"
say "$venv is ready"

"""What holds for the package as a whole: what it imports, who imports whom, what ships, how long a module gets."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "sparring").rglob("*.py"))
}
ROLES = {"creators", "solvers", "judges", "learners", "models", "worlds", "envs", "evals"}
HEAVY = ("torch", "transformers", "datasets", "peft", "pyarrow", "ray")


def imports_of(name: str) -> set[str]:
    """Every module that a module imports, at its top or inside a function; ``from a import b`` counts as a.b and a."""
    package = name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return found


IMPORTS = {name: imports_of(name) for name in MODULES}


def part(module: str) -> str:
    """``sparring.models.hf`` -> ``models``"""
    return [*module.split("."), ""][1] if module.split(".")[0] == "sparring" else ""


# ---------------------------------------------------------------------------------------------- who imports whom


def test_the_walk_sees_the_package():
    assert {"sparring", "sparring.game", "sparring.config"} <= MODULES.keys()
    assert "sparring.errors" in IMPORTS["sparring.recipe"]


def test_only_the_command_line_imports_the_loop():
    assert [name for name, found in IMPORTS.items() if "sparring.loop" in found and part(name) != "cli"] == []


@pytest.mark.parametrize("name", [name for name in MODULES if part(name) in ROLES])
def test_parts_of_different_roles_do_not_import_one_another(name: str):
    # Games join the parts, so a part cannot know a game either. A world of theorems is about its environment.
    others = (ROLES | {"games", "loop", "cli"}) - {part(name)} - ({"envs"} if part(name) == "worlds" else set())
    assert [found for found in sorted(IMPORTS[name]) if part(found) in others] == []


def test_the_nouns_and_roles_need_the_standard_library_alone():
    assert {found.split(".")[0] for found in IMPORTS["sparring.game"]} <= sys.stdlib_module_names


@pytest.mark.parametrize(
    "code",
    ["import sparring", "import sparring.cli", "import sparring.cli; sys.argv = ['sparring', '--help']; sparring.cli.main()"],
    ids=["package", "command line", "help"],
)
def test_a_light_start(code: str):
    # The command line's start is what a user waits for; torch alone takes seconds.
    report = f"[m for m in {HEAVY} if m in sys.modules]"
    program = f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\nprint({report}, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stderr.strip() == "[]"


# ---------------------------------------------------------------------------------------------- what ships


def test_dependencies_are_what_is_imported():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    def modules(lines: list[str]) -> set[str]:
        return {re.split(r"[^\w-]", line)[0].replace("-", "_") for line in lines}

    needed = modules(project["dependencies"])
    extras = {name: modules(lines) for name, lines in project["optional-dependencies"].items() if name != "dev"}
    tops = {found.split(".")[0] for found in set().union(*IMPORTS.values())}
    imported = tops - sys.stdlib_module_names - {"sparring", ""}
    assert needed <= imported
    # What an extra brings is imported, or (by a name that is put together) named in some module.
    text = "".join(path.read_text(encoding="utf-8") for path in MODULES.values())
    assert imported - needed <= set().union(*extras.values())
    assert {module for names in extras.values() for module in names if module not in text} == set()


def test_modules_fit_in_the_head():
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in MODULES.items()}
    assert {name: length for name, length in lengths.items() if length > 400} == {}


def test_no_package_registry_is_named():
    # Where packages come from is the user's setting. The names are joined here so that this file does not hold them.
    registries = [
        ".".join(parts)
        for parts in [
            ("pypi", "org"),
            ("pythonhosted", "org"),
            ("pytorch", "org"),
            ("debian", "org"),
            ("ubuntu", "com"),
            ("npmjs", "org"),
            ("npmjs", "com"),
            ("anaconda", "org"),
            ("anaconda", "com"),
            ("ghcr", "io"),
            ("docker", "io"),
            ("crates", "io"),
        ]
    ]
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = []
    for name in listed.stdout.split("\0"):
        path = ROOT / name
        if not name or name == "LICENSE" or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [f"{name}: {host}" for host in registries if host in text]
    assert found == []

"""How long the command line takes to start: the median wall time of fresh processes.

Run it as ``.venv/bin/python bench/startup.py``.
"""

import statistics
import subprocess
import sys
import time

RUNS = 10
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import sparring": ["-c", "import sparring"],
    "sparring --help": ["-c", "import sys, sparring.cli; sys.argv = ['sparring', '--help']; sparring.cli.main()"],
}


def wall_s(arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    for name, arguments in COMMANDS.items():
        times_s = [wall_s(arguments) for _ in range(RUNS)]
        print(f"{name:16} {statistics.median(times_s) * 1000:6.0f} ms (median of {RUNS})")


if __name__ == "__main__":
    main()

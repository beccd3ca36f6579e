"""Builds the server and says where it is. Exits with 1 where it cannot be built."""

from __future__ import annotations

import sys

from sparring.envs.coq_snapshots.build import server
from sparring.errors import SparringError


def main() -> int:
    try:
        print(server())
    except SparringError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""python -m pims.main: start the server, as `pims serve` does."""

from __future__ import annotations

import sys

from pims.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main(["serve", *sys.argv[1:]]))

"""python pims/importer/import_local_images.py --path X: `pims import X`, for a file or a folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code of `pims import`."""
    parser = argparse.ArgumentParser(description="Import a file or a folder of images.")
    parser.add_argument("--path", required=True, help="a file or a folder")
    parser.add_argument("--json", action="store_true", help="one JSON object a line for every file")
    given = parser.parse_args(arguments)
    # Run as a script from a checkout, this folder is where Python looks for modules, not the checkout.
    checkout = str(Path(__file__).resolve().parents[2])
    if checkout not in sys.path:
        sys.path.insert(0, checkout)
    from pims.cli import main as pims

    return pims(["import", *(["--json"] if given.json else []), "--", given.path])


if __name__ == "__main__":
    sys.exit(main())

"""`make bench`: measures this server against its yardsticks; what it tells is in docs/performance.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # a script finds what lies beside it, not its package

from benchmarks.command import main  # noqa: E402 - found from here on

if __name__ == "__main__":
    sys.exit(main())

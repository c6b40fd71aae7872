"""`make bench`: measures this server against its yardsticks; what it tells is in docs/performance.md."""

from __future__ import annotations

import sys

from benchmarks.command import main

if __name__ == "__main__":
    sys.exit(main())

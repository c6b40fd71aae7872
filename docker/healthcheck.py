"""Ends well when the server of this container answers; run by HEALTHCHECK."""

from __future__ import annotations

import os
import urllib.request

__all__: list[str] = []

TIMEOUT = 4.0

if __name__ == "__main__":
    port = os.environ.get("PORT", "5000")
    base = os.environ.get("API_BASE_PATH", "").rstrip("/")
    urllib.request.urlopen(f"http://127.0.0.1:{port}{base}/health/live", timeout=TIMEOUT).close()

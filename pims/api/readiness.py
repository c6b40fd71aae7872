"""Whether this process can do its work now."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["Readiness"]

FRESH_SECONDS = 2.0
"""How long what was found about ROOT is believed."""
PATIENCE_SECONDS = 2.0
"""How long ROOT may take to answer; a network disk that hangs never does."""
POLL_SECONDS = 0.005


class Readiness:
    """Asked on the event loop. The disk is looked at in a thread of its own, one at a time."""

    def __init__(self, root: Path, threads_live: Callable[[], bool]) -> None:
        """`threads_live`: whether the threads that render are at work or will be."""
        self._root = root
        self._threads_live = threads_live
        self._draining = False
        self._looking: threading.Thread | None = None
        self._looked_at = float("-inf")
        self._wrong: str | None = None

    def drain(self) -> None:
        """The server is ending: no more requests, please. May be called by a signal handler."""
        self._draining = True

    async def wrong(self) -> str | None:
        """What keeps this process from its work, a sentence without paths; None when all is well."""
        if self._draining:
            return "This server is ending."
        if not self._threads_live():
            return "The threads that render images have ended; the server has to be started again."
        return await self._wrong_with_root()

    async def _wrong_with_root(self) -> str | None:
        asked_at = time.monotonic()
        if self._looking is None and asked_at - self._looked_at > FRESH_SECONDS:
            self._looking = threading.Thread(target=self._look, name="readiness", daemon=True)
            try:
                self._looking.start()
            except (RuntimeError, MemoryError):  # the next question tries again
                self._looking = None
                return "No thread can be started to look at ROOT: this machine is at its limits."
        while self._looking is not None:
            if time.monotonic() - asked_at > PATIENCE_SECONDS:
                return f"ROOT does not answer within {PATIENCE_SECONDS:.0f} seconds."
            await asyncio.sleep(POLL_SECONDS)
        return self._wrong

    def _look(self) -> None:
        try:
            self._wrong = _wrong_with(self._root)
        finally:
            self._looked_at = time.monotonic()
            self._looking = None


def _wrong_with(root: Path) -> str | None:
    """May block for as long as the disk does."""
    try:
        with os.scandir(root):
            pass  # opened, not read: there may be very many
    except FileNotFoundError:
        return "ROOT is not there."
    except OSError as error:
        return f"ROOT can't be read: {os.strerror(error.errno or 0)}."
    if not os.access(root, os.W_OK | os.X_OK):
        return "ROOT can't be written."
    return None

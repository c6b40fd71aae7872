"""A format no file has: ends the import of a file called kill-<n>... at the n-th thing it asks of the disk.

With a name that starts with orphan-<n>, it is the server of imports that is ended then.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from pims.formats.abstract import AbstractChecker, AbstractFormat, AbstractParser, AbstractReader
from pims.formats.probe import Probe
from pims.model.geometry import Region
from pims.model.metadata import ImageMetadata
from pims.model.planes import Plane
from pims.model.pyramid import Tier

MATCHED = "pims.matched"
ASKED = frozenset(
    (MATCHED, "open", "os.mkdir", "os.rename", "os.symlink", "os.remove", "os.rmdir", "os.listdir")
)
NAME = re.compile(r"(kill|orphan)-(\d+)")


class Killer:
    """Counts from the moment the file is opened."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.victim = ""

    def on_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in ASKED:
            return
        if self.left is not None:
            self.left -= 1
        elif event == "open" and (found := NAME.match(Path(str(arguments[0])).name)):
            self.victim, self.left = found[1], int(found[2])
        if self.left == 0:
            os.kill(os.getpid() if self.victim == "kill" else os.getppid(), signal.SIGKILL)


class KillingChecker(AbstractChecker):
    @classmethod
    def match(cls, probe: Probe) -> bool:
        sys.audit(MATCHED)
        return False


class KillingParser(AbstractParser):
    def parse_main_metadata(self) -> ImageMetadata:
        raise NotImplementedError


class KillingReader(AbstractReader):
    def read_region(self, tier: Tier, region: Region, plane: Plane, reduction: int = 1) -> NDArray[Any]:
        raise NotImplementedError


class KillingFormat(AbstractFormat):
    """Asked of every file whether it is one."""

    checker_class = KillingChecker
    parser_class = KillingParser
    reader_class = KillingReader


FORMATS = (KillingFormat,)
sys.addaudithook(Killer().on_event)

"""The parts of this server, built and wired from the settings, without HTTP."""

from __future__ import annotations

import os

from pims.formats.abstract import ReadContext
from pims.formats.engines.tile_cache import TileCache
from pims.formats.registry import discover_formats
from pims.images.helper_process import HelperLimits
from pims.images.opener import Opener
from pims.images.pool import ImagePool
from pims.images.threads import RenderThreads
from pims.importer.flow import ImportOptions
from pims.processing.runtime import prepare_process
from pims.settings import Settings
from pims.tasks.protocol import ProcessLimits

__all__ = ["Composition", "import_limits", "import_options"]


class Composition:
    """What one process shares: the formats, what it lends to them, and the images it keeps open."""

    def __init__(self, settings: Settings) -> None:
        prepare_process()
        self.settings = settings
        self.registry = discover_formats()
        self.context = ReadContext(settings.limits, TileCache(settings.tile_cache_bytes))
        helpers = HelperLimits(processes=settings.helper_processes, memory_bytes=settings.helper_memory)
        self.opener = Opener(settings.root.absolute(), self.registry, self.context, helpers)
        self.pool = ImagePool(self.opener, settings.memory_lru_cache_capacity)
        patience = settings.render_patience
        self.render_threads = RenderThreads(settings.render_threads or os.cpu_count() or 1, patience=patience)
        self.large_render_threads = RenderThreads(1, patience=patience, budget=settings.render_memory)

    def close(self, *, wait: bool = True) -> None:
        """Drop the renders that wait, let those that run end, close all images.

        Without `wait`, an image that is being rendered is closed when that ends.
        """
        self.render_threads.close(wait=wait)
        self.large_render_threads.close(wait=wait)
        self.pool.close()


def import_options(settings: Settings) -> ImportOptions:
    """Where and how files are imported."""
    return ImportOptions(
        root=settings.root.absolute(),
        pending=settings.pending_path.absolute(),
        limits=settings.limits,
        lossless_codec=settings.conversion_lossless,
        jpeg_quality=settings.conversion_jpeg_quality,
        histogram_length=settings.max_length_complete_histogram,
        histogram_pixels=settings.max_pixels_complete_histogram,
    )


def import_limits(settings: Settings) -> ProcessLimits:
    """What one import may use of the machine."""
    return ProcessLimits(memory_bytes=settings.import_memory_limit, seconds=settings.import_time_limit)

"""What was computed once: on objects, in this process, and (later) shared between processes."""

from pims.cache.object import SimpleDataCache, cached_property

__all__ = ["SimpleDataCache", "cached_property"]

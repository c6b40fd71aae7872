"""PIMS, a Python Image Management Server for microscopy. ARCHITECTURE.md is the map."""

__all__ = ["__version__"]

__version__ = "0.1.0"

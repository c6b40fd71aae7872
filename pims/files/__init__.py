"""Bytes and names on disk; knows nothing of pixels."""

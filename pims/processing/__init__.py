"""Pixels to pixels: pure functions, no files, no network."""

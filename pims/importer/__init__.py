"""Use case: take an image in."""

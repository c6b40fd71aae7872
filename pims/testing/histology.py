"""A picture of a stained tissue section, of any size, drawn from a seed and given in bands of rows.

A pixel is two densities, haematoxylin and eosin, until the colour table turns them into light: the maps of
the tissue enlarged, times fibres, times grain; over it nuclei.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pims.testing.brushes import (
    FIBRE_STEPS,
    GRAIN_MEAN,
    GRAIN_SIDE,
    ORIENTATIONS,
    STAMP,
    VARIANTS,
    colour_table,
    fibre_table,
    grain_tile,
    nucleus_stamps,
)
from pims.testing.tissue import draw_tissue

__all__ = ["BAND_ROWS", "TissuePicture"]

BAND_ROWS = 256
"""Rows made at once."""
BLOCK_COLUMNS = 2048
"""Columns made at once: what a core's cache holds."""


class TissuePicture:
    """Gives the rows of the picture; the same size and seed give the same pixels."""

    def __init__(self, width: int, height: int, seed: int) -> None:
        self.width = width
        self.height = height
        random = np.random.default_rng(seed)
        self._colours = colour_table()
        self._fibres = fibre_table(random)
        self._grain = grain_tile(random)
        self._stamps = nucleus_stamps(random).reshape(-1, STAMP, STAMP)
        padded = [-(-width // BLOCK_COLUMNS) * BLOCK_COLUMNS, -(-height // BAND_ROWS) * BAND_ROWS]
        self._maps, nuclei = draw_tissue(random, *padded)
        turn = np.round(nuclei.angle / math.pi * ORIENTATIONS).astype(np.int64) % ORIENTATIONS
        variant = random.integers(0, VARIANTS, len(turn))
        self._stamp = (nuclei.kind * VARIANTS + variant) * ORIENTATIONS + turn
        self._left = np.round(nuclei.x).astype(np.int64) - STAMP // 2
        self._top = np.round(nuclei.y).astype(np.int64) - STAMP // 2

    def rows(self, top: int) -> NDArray[np.uint8]:
        """RGB of (256, or what is left; width; 3) from row `top`, a multiple of 256."""
        count = min(BAND_ROWS, self.height - top)
        nuclei = self._nuclei_from(top)
        picture = np.empty((count, self.width, 3), np.uint8)
        for left in range(0, self.width, BLOCK_COLUMNS):
            columns = min(BLOCK_COLUMNS, self.width - left)
            block = self._block(left, top, nuclei[:, left : left + BLOCK_COLUMNS])
            picture[:, left : left + columns] = block[:count, :columns]
        return picture

    def _nuclei_from(self, top: int) -> NDArray[np.uint8]:
        """Haematoxylin of the nuclei in 256 rows; drawn with a margin, so that none has to be cut."""
        columns = -(-self.width // BLOCK_COLUMNS) * BLOCK_COLUMNS
        plane = np.zeros((BAND_ROWS + 2 * STAMP, columns + 2 * STAMP), np.uint8)
        first, last = np.searchsorted(self._top, [top - STAMP, top + BAND_ROWS])
        rows = (self._top[first:last] - top + STAMP).tolist()
        lefts = (self._left[first:last] + STAMP).tolist()
        for row, left, stamp in zip(rows, lefts, self._stamp[first:last].tolist(), strict=True):
            target = plane[row : row + STAMP, left : left + STAMP]
            np.maximum(target, self._stamps[stamp], out=target)
        return plane[STAMP:-STAMP, STAMP:-STAMP]

    def _block(self, left: int, top: int, nuclei: NDArray[np.uint8]) -> NDArray[Any]:
        """RGB of 256 rows and 2,048 columns."""
        maps, grain = self._maps, self._grain[top % GRAIN_SIDE :][:BAND_ROWS]
        coverage, fibrous = self._enlarged(maps.coverage, left, top), self._enlarged(maps.fibrous, left, top)
        between = cv2.bitwise_not(np.take(self._fibres, self._phase(left, top, grain)))
        fibres = cv2.bitwise_not(cv2.multiply(between, fibrous, scale=1 / 255))
        eosin = cv2.multiply(self._enlarged(maps.eosin, left, top), fibres, scale=1 / 255)
        eosin = cv2.multiply(eosin, grain, scale=1 / GRAIN_MEAN)
        haze = cv2.multiply(self._enlarged(maps.haze, left, top), grain, scale=1 / GRAIN_MEAN)
        haematoxylin = cv2.max(haze, cv2.multiply(nuclei, coverage, scale=1 / 255))
        mixture = cv2.merge([eosin, haematoxylin]).view("<u2")[..., 0]
        colours = np.take(self._colours.view(np.uint32)[:, 0], mixture)
        return cv2.cvtColor(colours.view(np.uint8).reshape(*mixture.shape, 4), cv2.COLOR_RGBA2RGB)

    def _phase(self, left: int, top: int, grain: NDArray[np.uint8]) -> NDArray[np.uint16]:
        """Index in the fibre table, modulo its size; the grain makes fibres uneven."""
        near = self._cut(self._maps.phase, left, top)
        first = math.floor(near.min())
        steps = self._enlarge(((near - first) * FIBRE_STEPS).astype(np.uint16))
        steps += np.uint16(first * FIBRE_STEPS % 65536)
        steps += grain >> 1
        return steps

    def _cut(self, values: NDArray[Any], left: int, top: int) -> NDArray[Any]:
        scale = self._maps.scale
        rows, columns = BAND_ROWS // scale + 2, BLOCK_COLUMNS // scale + 2
        return values[top // scale : top // scale + rows, left // scale : left // scale + columns]

    def _enlarge(self, values: NDArray[Any]) -> NDArray[Any]:
        scale = self._maps.scale
        enlarged = cv2.resize(values, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
        return np.ascontiguousarray(enlarged[scale:-scale, scale:-scale])

    def _enlarged(self, values: NDArray[Any], left: int, top: int) -> NDArray[Any]:
        return self._enlarge(self._cut(values, left, top))

"""The large structures of a tissue picture: outline, crypts, follicles, muscle, fibres; where nuclei lie.

They are drawn on maps, one map pixel for 8 x 8 picture pixels (more for huge pictures). Map pixel (1, 1)
covers the picture's first pixels: a margin of one lets maps be enlarged seamlessly block by block.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pims.testing.brushes import FIBRE_PERIOD, SmoothNoise

__all__ = ["EPITHELIAL", "LYMPHOCYTE", "SPINDLE", "Nuclei", "TissueMaps", "draw_tissue", "scatter_nuclei"]

MAP_SCALE = 8
MAX_MAP_PIXELS = 8_000_000
NUCLEUS_PITCH = 25.0
"""Picture pixels between the places where a nucleus may lie."""
CRYPT_PITCH = 400.0
CRYPT_GAP = 12.0
"""Picture pixels left between crypts."""
STRIP_ROWS = 128
"""Rows of the maps drawn at once."""
EPITHELIAL_PITCH = 19.0
LYMPHOCYTE, SPINDLE, EPITHELIAL = range(3)
"""Kinds of nuclei, as in `brushes.KINDS`."""

ByteMap = NDArray[np.uint8]
FloatMap = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TissueMaps:
    """Maps of 0 to 255 (but for phase), all of one shape."""

    scale: int
    """Picture pixels of a map pixel."""
    mucosa: ByteMap
    """Where crypts lie."""
    coverage: ByteMap
    """Tissue against bare glass."""
    eosin: ByteMap
    haze: ByteMap
    """Haematoxylin outside of nuclei."""
    fibrous: ByteMap
    """How much the fibres show."""
    phase: FloatMap
    """Which fibre (whole part), and where across it."""
    round_cells: ByteMap
    spindles: ByteMap
    """Chance of a nucleus at a place where one may lie."""

    @classmethod
    def empty(cls, shape: tuple[int, int], scale: int) -> TissueMaps:
        def blank() -> ByteMap:
            return np.zeros(shape, np.uint8)

        phase = np.zeros(shape, np.float32)
        return cls(scale, blank(), blank(), blank(), blank(), blank(), phase, blank(), blank())

    def at(self, values: NDArray[Any], x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
        """The values of a map under picture pixels; 0 outside."""
        column, row = (x // self.scale).astype(np.int64) + 1, (y // self.scale).astype(np.int64) + 1
        inside = (column >= 0) & (row >= 0) & (row < values.shape[0]) & (column < values.shape[1])
        found: NDArray[Any] = np.where(inside, values[row * inside, column * inside], 0)
        return found


@dataclass(frozen=True, slots=True)
class Nuclei:
    """Where nuclei lie (centres, in picture pixels) and what they look like."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    kind: NDArray[np.int64]
    angle: NDArray[np.float64]
    """Of the long axis, in radians."""

    @classmethod
    def of(cls, x: NDArray[Any], y: NDArray[Any], kind: int, angle: NDArray[Any]) -> Nuclei:
        return cls(x, y, np.full(len(x), kind, np.int64), angle)

    @classmethod
    def together(cls, groups: list[Nuclei]) -> Nuclei:
        """All of them, from top to bottom."""
        y = np.concatenate([group.y for group in groups])
        order = np.argsort(y, kind="stable")
        return cls(
            np.concatenate([group.x for group in groups])[order],
            y[order],
            np.concatenate([group.kind for group in groups])[order],
            np.concatenate([group.angle for group in groups])[order],
        )


def draw_tissue(random: np.random.Generator, width: int, height: int) -> tuple[TissueMaps, Nuclei]:
    """Maps for a picture of at least that size, and all nuclei in it."""
    scale = MAP_SCALE
    while (width // scale) * (height // scale) > MAX_MAP_PIXELS:
        scale *= 2
    shape = (-(-height // scale) + 2, -(-width // scale) + 2)
    maps = _draw_maps(random, shape, scale, min(width, height))
    groups = list(_draw_crypts(random, maps, width, height))
    for drawn in (maps.coverage, maps.eosin, maps.haze):
        cv2.GaussianBlur(drawn, (0, 0), 0.75, dst=drawn)
    groups += scatter_nuclei(random, maps, width, height)
    return maps, Nuclei.together(groups)


def _draw_maps(random: np.random.Generator, shape: tuple[int, int], scale: int, side: int) -> TissueMaps:
    def noise(cell: float, octaves: int, persistence: float) -> SmoothNoise:
        return SmoothNoise(random, shape, cell / scale, octaves, persistence)

    large = min(max(side * 0.3, 600.0), 6000.0)
    relief = Relief(
        outline=noise(large, 8, 0.5),
        fissures=noise(2400.0, 5, 0.5),
        mucosa=noise(large * 0.6, 4, 0.45),
        follicles=noise(1500.0, 5, 0.42),
        muscle=noise(large * 0.8, 3, 0.4),
        mottle=noise(600.0, 6, 0.6),
        clusters=noise(420.0, 3, 0.5),
    )
    maps = TissueMaps.empty(shape, scale)
    for top in range(0, shape[0], STRIP_ROWS):
        relief.draw(maps, top, min(STRIP_ROWS, shape[0] - top))
    _draw_phase(random, maps)
    return maps


@dataclass(frozen=True, slots=True)
class Relief:
    """The noise that every large structure is a level of."""

    outline: SmoothNoise
    fissures: SmoothNoise
    mucosa: SmoothNoise
    follicles: SmoothNoise
    muscle: SmoothNoise
    mottle: SmoothNoise
    clusters: SmoothNoise

    def draw(self, maps: TissueMaps, top: int, count: int) -> None:
        """Draw a strip of all maps but phase."""
        outline = self.outline.rows(top, count) + _towards_border(maps.coverage.shape, top, count)
        tissue = outline > 0
        tissue &= ~((np.abs(self.fissures.rows(top, count)) < 0.011) & (outline > 0.08))
        mucosa = _step(self.mucosa.rows(top, count), 0.05, 0.11)
        lymphatic = self.follicles.rows(top, count)
        follicles = _step(lymphatic, 0.50, 0.72) * (1 - 0.8 * mucosa)
        centres = _step(lymphatic, 0.80, 0.95) * (1 - mucosa)
        muscle = _step(self.muscle.rows(top, count), 0.1, 0.25) * (1 - mucosa)
        mottle = self.mottle.rows(top, count)
        clusters = _step(self.clusters.rows(top, count), -0.2, 0.9)
        scattered = 0.015 + 0.32 * mucosa * (0.35 + clusters) + 0.07 * clusters
        crowded = 0.9 * follicles**2 - 0.38 * centres
        strip = slice(top, top + count)
        maps.coverage[strip] = _bytes(tissue)
        maps.mucosa[strip] = _bytes(mucosa * tissue)
        maps.eosin[strip] = _bytes(
            (0.43 + 0.17 * muscle - 0.12 * mucosa - 0.18 * follicles + 0.11 * mottle) * tissue
        )
        maps.haze[strip] = _bytes(
            (0.02 + 0.05 * mucosa + 0.14 * follicles - 0.05 * centres + 0.02 * mottle) * tissue
        )
        maps.fibrous[strip] = _bytes(1 - 0.7 * np.maximum(mucosa, follicles))
        maps.round_cells[strip] = _bytes((scattered * (1 - follicles) + crowded) * tissue)
        maps.spindles[strip] = _bytes((1 - follicles) * (1 - 0.8 * mucosa) * (0.09 + 0.12 * muscle) * tissue)


def _towards_border(shape: tuple[int, ...], top: int, count: int) -> FloatMap:
    """What keeps the tissue away from the border: 0.42 in the middle, -1.28 at the border."""
    y, x = (np.linspace(-1, 1, side, dtype=np.float32) for side in shape)
    distance = np.maximum(np.abs(y)[top : top + count, None], np.abs(x)[None, :])
    return np.float32(0.42) - np.float32(1.7) * distance**4


def _draw_phase(random: np.random.Generator, maps: TissueMaps) -> None:
    """Fibres run along lines of equal phase: a slope, bent more and more finely."""
    height, width = maps.phase.shape
    direction, per_fibre = random.uniform(0, math.pi), maps.scale / FIBRE_PERIOD
    x = np.arange(width, dtype=np.float32) * np.float32(math.cos(direction) * per_fibre)
    y = np.arange(height, dtype=np.float32) * np.float32(math.sin(direction) * per_fibre)
    bends = [
        (SmoothNoise(random, (height, width), cell / maps.scale), np.float32(bend * cell / FIBRE_PERIOD))
        for cell, bend in ((5000.0, 0.55), (900.0, 0.34), (220.0, 0.16))
    ]
    for top in range(0, height, STRIP_ROWS):
        strip = maps.phase[top : top + STRIP_ROWS]
        strip[:] = y[top : top + STRIP_ROWS, None] + x
        for noise, weight in bends:
            strip += noise.rows(top, len(strip)) * weight


@dataclass(frozen=True, slots=True)
class Crypt:
    """A gland cut across: a ring of epithelium around a pale middle."""

    x: float
    y: float
    radius: float
    stretch: float
    """Its length divided by its breadth."""
    turn: float
    """Direction of its length, in radians."""
    waves: tuple[tuple[int, float, float], ...]
    """(number, height, shift) of the waves of its outline."""

    @classmethod
    def drawn(cls, random: np.random.Generator, x: float, y: float) -> Crypt:
        waves = ((k, random.normal(0, 0.12 / k), random.uniform(0, 2 * math.pi)) for k in (2, 3, 4, 5))
        stretch = 1 + random.gamma(1.3, 0.22)
        return cls(
            x, y, random.uniform(115, 170) / stretch**0.4, stretch, random.uniform(0, math.pi), tuple(waves)
        )

    @property
    def reach(self) -> float:
        """Radius of a circle of about its size."""
        return self.radius * math.sqrt(self.stretch)

    def outline(self, part: float, angle: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """x and y of the points seen at those angles, that part of the way from the middle to the edge."""
        radius = self.radius * part * (1 + sum(a * np.cos(k * angle + shift) for k, a, shift in self.waves))
        along, across = radius * np.cos(angle) * self.stretch, radius * np.sin(angle)
        x = self.x + along * math.cos(self.turn) - across * math.sin(self.turn)
        return x, self.y + along * math.sin(self.turn) + across * math.cos(self.turn)


def _draw_crypts(random: np.random.Generator, maps: TissueMaps, width: int, height: int) -> Iterator[Nuclei]:
    """Draw the crypts of the mucosa where there is room; gives their nuclei."""
    xs, ys = _jittered_grid(random, width, height, CRYPT_PITCH, 0.14)
    deep = maps.at(maps.mucosa, xs, ys) > 128
    for shift_x, shift_y in ((-150, 0), (150, 0), (0, -150), (0, 150)):
        deep &= maps.at(maps.coverage, xs + shift_x, ys + shift_y) > 128
    recent: deque[Crypt] = deque(maxlen=2 * int(width / CRYPT_PITCH) + 8)
    for x, y in zip(xs[deep].tolist(), ys[deep].tolist(), strict=True):
        crypt = Crypt.drawn(random, x, y)
        room = min((math.hypot(x - other.x, y - other.y) - other.reach for other in recent), default=1e9)
        if room > crypt.reach + CRYPT_GAP:
            recent.append(crypt)
            yield _draw_crypt(random, maps, crypt)


def _draw_crypt(random: np.random.Generator, maps: TissueMaps, crypt: Crypt) -> Nuclei:
    around = np.linspace(0, 2 * math.pi, 64, endpoint=False)
    _fill(maps, *crypt.outline(1.06, around), coverage=255, eosin=66, haze=6, fibrous=0)
    _fill(maps, *crypt.outline(1.0, around), eosin=96, haze=30, round_cells=0, spindles=0)
    count = max(int(2 * math.pi * crypt.reach * 0.8 / EPITHELIAL_PITCH), 3)
    angle = (np.arange(count) + random.uniform(-0.3, 0.3, count)) * (2 * math.pi / count)
    # Goblet cells: drops of mucus between the nuclei and the middle.
    for part in (0.60, 0.46):
        for x, y in zip(*crypt.outline(part, angle[random.random(count) < 0.35]), strict=True):
            spot = (round(x / maps.scale + 0.5), round(y / maps.scale + 0.5))
            cv2.circle(maps.eosin, spot, round(random.uniform(8, 17) / maps.scale), 34, -1)
            cv2.circle(maps.haze, spot, round(random.uniform(8, 17) / maps.scale), 22, -1)
    _fill(maps, *crypt.outline(random.uniform(0.10, 0.34), around), coverage=0, eosin=8, haze=4)
    x, y = crypt.outline(0.82, angle)
    x, y = x + random.normal(0, 3, count), y + random.normal(0, 3, count)
    inwards = np.arctan2(y - crypt.y, x - crypt.x) + random.normal(0, 0.2, count)
    return Nuclei.of(x, y, EPITHELIAL, inwards)


def _fill(maps: TissueMaps, x: NDArray[Any], y: NDArray[Any], **values: int) -> None:
    """Fill a polygon given in picture pixels in the named maps."""
    corners = np.round(np.stack([x, y], axis=-1) / maps.scale * 16 + 8).astype(np.int32)
    for name, value in values.items():
        cv2.fillPoly(getattr(maps, name), [corners], value, shift=4)


def scatter_nuclei(random: np.random.Generator, maps: TissueMaps, width: int, height: int) -> list[Nuclei]:
    """Nuclei between the crypts, as dense as the maps say; spindles lie along the fibres."""
    x, y = _jittered_grid(random, width, height, NUCLEUS_PITCH, 0.3)
    dice = random.random(len(x)) * 255
    round_chance = maps.at(maps.round_cells, x, y).astype(np.float64)
    spindle_chance = maps.at(maps.spindles, x, y)
    is_round, is_spindle = (
        dice < round_chance,
        (dice >= round_chance) & (dice < round_chance + spindle_chance),
    )
    spindle_x, spindle_y = x[is_spindle], y[is_spindle]
    here, step = maps.at(maps.phase, spindle_x, spindle_y), float(maps.scale)
    slope_x = maps.at(maps.phase, spindle_x + step, spindle_y) - here
    slope_y = maps.at(maps.phase, spindle_x, spindle_y + step) - here
    return [
        Nuclei.of(x[is_round], y[is_round], LYMPHOCYTE, random.uniform(0, math.pi, int(is_round.sum()))),
        Nuclei.of(spindle_x, spindle_y, SPINDLE, np.arctan2(slope_y, slope_x) + math.pi / 2),
    ]


def _jittered_grid(
    random: np.random.Generator, width: int, height: int, pitch: float, jitter: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points of a hexagonal grid, each moved by a normal jitter (in pitches), inside the picture."""
    row, column = np.mgrid[: int(height / (pitch * 0.87)) + 1, : int(width / pitch) + 1]
    x = ((column + row % 2 * 0.5) * pitch).ravel()
    y = (row * (pitch * 0.87)).ravel()
    x, y = x + random.normal(0, jitter * pitch, len(x)), y + random.normal(0, jitter * pitch, len(y))
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return x[inside], y[inside]


def _step(values: FloatMap, low: float, high: float) -> FloatMap:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((values - np.float32(low)) / np.float32(high - low), np.float32(0), np.float32(1))
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def _bytes(values: NDArray[Any]) -> ByteMap:
    return np.asarray(np.clip(values * 255, 0, 255), np.uint8)

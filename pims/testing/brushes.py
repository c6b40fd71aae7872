"""What a tissue picture is drawn with: stamps of nuclei, fibres, grain, smooth noise and the stains."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FIBRE_PERIOD",
    "FIBRE_STEPS",
    "GRAIN_MEAN",
    "GRAIN_SIDE",
    "KINDS",
    "ORIENTATIONS",
    "STAMP",
    "VARIANTS",
    "NucleusKind",
    "SmoothNoise",
    "colour_table",
    "fibre_table",
    "grain_tile",
    "nucleus_stamps",
]

STAMP = 48
"""Side of the square that holds a nucleus, in pixels."""
ORIENTATIONS = 16
VARIANTS = 6
FIBRE_PERIOD = 26.0
"""Pixels from fibre to fibre, about."""
FIBRE_STEPS = 64
"""Entries of the fibre table for one fibre."""
GRAIN_MEAN = 205
GRAIN_SIDE = 2048
"""Period of the finest texture, in pixels."""

GLASS = (243, 242, 245)
HAEMATOXYLIN = (0.62, 0.74, 0.29)
EOSIN = (0.08, 0.92, 0.38)
"""Optical density in red, green and blue of a stain of 1."""
MAX_HAEMATOXYLIN, MAX_EOSIN = 0.95, 0.60
"""The stain that 255 stands for."""


@dataclass(frozen=True, slots=True)
class NucleusKind:
    """Shape and stain of one kind of nucleus."""

    half_length: float
    half_breadth: float
    stain: float
    """Mean haematoxylin, 0 to 1."""
    mottling: float
    """How uneven the chromatin is."""
    rim: float
    """How much darker the membrane is."""


KINDS = (
    NucleusKind(11.0, 9.8, 0.72, 0.30, 0.10),  # lymphocytes: small, round, dark
    NucleusKind(19.0, 4.4, 0.62, 0.20, 0.06),  # fibroblasts and muscle: spindles
    NucleusKind(15.0, 9.5, 0.48, 0.30, 0.18),  # epithelium: large, oval, pale with a dark membrane
)


def nucleus_stamps(random: np.random.Generator) -> NDArray[np.uint8]:
    """Haematoxylin of nuclei: (kind, variant, orientation, 48, 48)."""
    stamps = np.empty((len(KINDS), VARIANTS, ORIENTATIONS, STAMP, STAMP), np.uint8)
    for kind_index, kind in enumerate(KINDS):
        for variant in range(VARIANTS):
            for turn in range(ORIENTATIONS):
                angle = math.pi * turn / ORIENTATIONS
                stamps[kind_index, variant, turn] = _nucleus(kind, angle, random)
    return stamps


def _nucleus(kind: NucleusKind, angle: float, random: np.random.Generator) -> NDArray[np.uint8]:
    y, x = np.mgrid[:STAMP, :STAMP] - (STAMP - 1) / 2
    along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    size = random.uniform(0.78, 1.15)
    bend = random.normal(0, 0.004) * along**2 * (kind.half_breadth / kind.half_length)
    direction = np.arctan2(across, along)
    wobble = sum(random.normal(0, 0.035) * np.cos(k * direction + random.uniform(0, 6.3)) for k in (2, 3, 5))
    radius = np.hypot(along / kind.half_length, (across + bend) / kind.half_breadth) / size + wobble
    softness = kind.half_breadth * size * 0.36
    inside = np.clip((1 - radius) * softness + 0.5, 0, 1)
    chromatin = cv2.GaussianBlur(random.normal(0, 1, (STAMP, STAMP)), (0, 0), 1.9)
    rim = kind.rim * np.exp(-(((radius - 0.85) / 0.16) ** 2))
    stain = (
        kind.stain * random.uniform(0.76, 1.15) * (1 + kind.mottling * 0.6 * chromatin / np.std(chromatin))
        + rim
    )
    return np.asarray(np.clip(stain * inside, 0, 1) * 255, np.uint8)


def fibre_table(random: np.random.Generator) -> NDArray[np.uint8]:
    """Relative eosin by 16-bit phase: 1,024 fibres of 64 steps, each of its own strength; 255 is the most.

    It is periodic: the phase may wrap around.
    """
    count = 65536 // FIBRE_STEPS
    strength = np.repeat(random.uniform(0.80, 1.0, count), FIBRE_STEPS)
    depth = np.repeat(random.choice([0.06, 0.12, 0.45], count, p=[0.5, 0.38, 0.12]), FIBRE_STEPS)
    across = np.tile(np.arange(FIBRE_STEPS) / FIBRE_STEPS, count)
    cleft = np.clip(1 - np.minimum(across, 1 - across) / 0.16, 0, 1) ** 1.5
    profile = strength * (1 - depth * cleft)
    smooth = np.convolve(np.concatenate([profile[-16:], profile, profile[:16]]), np.full(9, 1 / 9), "same")
    return np.asarray(np.clip(smooth[16:-16], 0, 1) * 255, np.uint8)


def grain_tile(random: np.random.Generator) -> NDArray[np.uint8]:
    """Fine texture without seams, (2048, 2048), mean about 200 of 255: the unevenness of cytoplasm."""
    grain = np.zeros((GRAIN_SIDE, GRAIN_SIDE), np.float32)
    for cell, weight in ((2, 0.35), (4, 0.45), (8, 0.5), (16, 0.45), (64, 0.35)):
        side = GRAIN_SIDE // cell
        coarse = np.pad(random.standard_normal((side, side), np.float32), 2, mode="wrap")
        fine = cv2.resize(coarse, None, fx=cell, fy=cell, interpolation=cv2.INTER_CUBIC)
        grain += weight * fine[2 * cell : -2 * cell, 2 * cell : -2 * cell]
    return np.asarray(np.clip(GRAIN_MEAN + 17 * grain, 0, 255), np.uint8)


class SmoothNoise:
    """Value noise of about -1 to 1, evaluated in strips.

    Parameters
    ----------
    shape : (height, width)
    cell : size of its features, in pixels
    octaves : each is twice as fine as the one before and `persistence` times as strong
    """

    def __init__(
        self,
        random: np.random.Generator,
        shape: tuple[int, int],
        cell: float,
        octaves: int = 1,
        persistence: float = 0.5,
    ) -> None:
        height, self._width = shape
        self._octaves: list[tuple[float, NDArray[np.float32]]] = []
        weights = np.float32(persistence) ** np.arange(octaves, dtype=np.float32)
        weights /= np.sqrt(np.sum(weights**2)) * 0.9
        for octave, weight in enumerate(weights):
            step = max(cell / 2**octave, 1.0)
            grid = (int(height / step) + 4, int(self._width / step) + 4)
            self._octaves.append((step, random.uniform(-weight, weight, grid).astype(np.float32)))

    def rows(self, top: int, count: int) -> NDArray[np.float32]:
        """(count, width) from row `top`."""
        total = np.zeros((count, self._width), np.float32)
        for step, values in self._octaves:
            first = int(top / step)
            needed = values[first : first + int(count / step) + 5]
            enlarge = np.array([[step, 0, -step], [0, step, (first - 1) * step - top]])
            total += cv2.warpAffine(needed, enlarge, (self._width, count), flags=cv2.INTER_CUBIC)
        return total


def colour_table() -> NDArray[np.uint8]:
    """RGB (and a zero) of 65,536 mixtures; the index is eosin + 256 * haematoxylin.

    Beer and Lambert: densities add up, light is 10 ** -density. Ruifrok and Johnston (2001) separate
    stains by the same rule.
    """
    eosin, haematoxylin = np.arange(256) / 255 * MAX_EOSIN, np.arange(256) / 255 * MAX_HAEMATOXYLIN
    density = haematoxylin[:, None, None] * np.array(HAEMATOXYLIN) + eosin[None, :, None] * np.array(EOSIN)
    table = np.zeros((65536, 4), np.uint8)
    table[:, :3] = np.round(np.array(GLASS) * 10**-density).reshape(65536, 3)
    return table

"""The fifteen corruptions of MNIST-C (Mu & Gilmer 2019, arXiv 1906.02337), at the one severity that it has of each.

Every function takes grey images [N, 28, 28, 1] in [0, 1] and a key, and returns images that the caller clips and rounds
down to 256 levels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from bnnbench import random
from bnnbench.tasks.corruptions import canny, colour, filters
from bnnbench.tasks.corruptions.draws import Key, integers, normal, signs

SIZE, CENTRE = 28, 13.5
ANGLE = 0.4  # of `shear` and `rotate`, in radians
ZIG = 2.0  # a quarter of a zigzag's length, and its height
CLOUDS = 256  # side of the clouds of which fog takes a corner
AT_ONCE = 64  # images, of which each has such clouds


def shot_noise(x: np.ndarray, key: Key) -> np.ndarray:
    """Poisson(3 x) / 3."""
    return colour.shot_noise(x, 3, key)


def impulse_noise(x: np.ndarray, key: Key) -> np.ndarray:
    """17 % of the pixels become black or white."""
    return colour.impulse_noise(x, 0.17, key)


def glass_blur(x: np.ndarray, key: Key) -> np.ndarray:
    """Blurred (sigma 0.7), half of the pixels twice exchanged with a neighbour, blurred again.

    The published images are blurred along columns alone: the library took the last axis for that of colours.
    """
    levels = np.floor(255 * _along_columns(x))
    return _along_columns(filters.shuffled(levels, 1, 2, key, swap=True) / 255)


def _along_columns(x: np.ndarray) -> np.ndarray:
    return ndimage.gaussian_filter1d(x, 0.7, 1, mode="nearest")


def motion_blur(x: np.ndarray, key: Key) -> np.ndarray:
    """Radius 10, sigma 3, along a line of -45 to 45 degrees."""
    return colour.motion_blur(x, (10, 3), key)


def shear(x: np.ndarray, key: Key) -> np.ndarray:
    """0.4 radians to the left or right, about the centre."""
    angle, zero = ANGLE * signs(key, (len(x),)), np.zeros(len(x))
    return _about_centre(x, [[zero + 1, -np.sin(angle)], [zero, np.cos(angle)]])


def scale(x: np.ndarray, key: Key) -> np.ndarray:
    """0.7 of the size, about the centre."""
    del key
    one, zero = np.ones(len(x)), np.zeros(len(x))
    return _about_centre(x, [[one / 0.7, zero], [zero, one / 0.7]])


def rotate(x: np.ndarray, key: Key) -> np.ndarray:
    """0.4 radians to either side, about the centre."""
    angle = ANGLE * signs(key, (len(x),))
    return _about_centre(x, [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def translate(x: np.ndarray, key: Key) -> np.ndarray:
    """3 pixels left or right, and 3 up or down."""
    matrix = np.broadcast_to(np.eye(2), (len(x), 2, 2))
    return filters.mapped(x, matrix, 3 * signs(key, (len(x), 2)), filters.black)


def _about_centre(x: np.ndarray, matrix: list[list[np.ndarray]]) -> np.ndarray:
    """Each pixel (column, row) taken from the matrix's image of it, black beyond the border; the centre stays."""
    stacked = np.array(matrix).transpose(2, 0, 1)
    return filters.mapped(x, stacked, CENTRE - CENTRE * stacked.sum(2), filters.black)


def brightness(x: np.ndarray, key: Key) -> np.ndarray:
    """x + 0.5."""
    del key
    return np.minimum(x + 0.5, 1)


def stripe(x: np.ndarray, key: Key) -> np.ndarray:
    """The left and the right quarter inverted."""
    del key
    column = np.arange(SIZE)[:, None]
    return np.where((column < SIZE // 4) | (column >= SIZE - SIZE // 4), np.rint(255 * (1 - x)) / 255, x)


def fog(x: np.ndarray, key: Key) -> np.ndarray:
    """Clouds of height 3, the brightest pixel as bright as before."""
    most, clouds = x.max((1, 2, 3), keepdims=True), np.empty(x.shape[:3])
    for part, first in enumerate(range(0, len(x), AT_ONCE)):  # of large clouds a corner is kept
        own = clouds[first : first + AT_ONCE]
        own[:] = filters.plasma(random.fold_in(key, part), len(own), CLOUDS, 1.4)[:, :SIZE, :SIZE]
    return (x + 3 * clouds[..., None]) * most / (most + 3)


def spatter(x: np.ndarray, key: Key) -> np.ndarray:
    """Dark grey drops where smooth noise is above a threshold."""
    liquid = filters.blurred(0.65 + 0.3 * normal(key, x.shape), 1)
    drops = filters.blurred((liquid > 0.65).astype(float), 1.5)
    drops[drops < 0.8] = 0
    return x * (1 - drops) + 63 / 255 * drops


def dotted_line(x: np.ndarray, key: Key) -> np.ndarray:
    """A line from the left border to the right one, two columns of four left out."""
    ends = integers(key, (len(x), 2), 0, SIZE - 1).astype(float)
    zero = np.zeros(len(x))
    dots = _line(zero, ends[:, 0], zero + SIZE - 1, ends[:, 1]) * (np.arange(SIZE) % 4 >= 2)
    return x + dots[..., None]


def zigzag(x: np.ndarray, key: Key) -> np.ndarray:
    """A zigzag about a line that is nearly level."""
    start, rise = random.split(key, 2)
    starts, rises = integers(start, (len(x),), 0, SIZE - 1), integers(rise, (len(x),), -5, 5)
    drawn = np.stack([_zigzag(*ends) for ends in zip(starts.tolist(), rises.tolist(), strict=True)])
    return x + drawn[..., None]


def _zigzag(start: int, rise: int) -> np.ndarray:
    """One zigzag [28, 28] from column 2 to 25, beginning at a row."""
    wide = 23
    angle = np.arctan(rise / wide)
    length = wide / np.cos(angle)
    turns = np.arange((length - ZIG) // (2 * ZIG) + 1)
    along, across = (2 * turns + 1) * ZIG, np.where(turns % 2 == 0, ZIG, -ZIG)
    last = 2 * ZIG * (length // (2 * ZIG))
    if length != last:  # the published end of the line
        along, across = np.append(along, length), np.append(across, across[-1] / (2 * (length - last)))
    along, across = np.insert(along, 0, 0.0), np.insert(across, 0, 0.0)
    columns = np.cos(angle) * along - np.sin(angle) * across + 2
    rows = np.sin(angle) * along + np.cos(angle) * across + start
    return _line(columns[:-1], rows[:-1], columns[1:], rows[1:]).sum(0)


def _line(c0: np.ndarray, r0: np.ndarray, c1: np.ndarray, r1: np.ndarray) -> np.ndarray:
    """Lines [n, 28, 28] from (column, row) to another one on the right, that fade out over 2.3 rows."""
    row, column = np.mgrid[:SIZE, :SIZE]
    c0, r0, c1, r1 = (np.asarray(part, dtype=float)[:, None, None] for part in (c0, r0, c1, r1))
    far = np.abs(row - r0 - (r1 - r0) / (c1 - c0) * (column - c0))
    shade = np.clip(np.log(1 - np.minimum(far, 2.3 - 1e-10) / 2.3) + 1, 0, 1)
    return shade * ((column >= np.floor(c0)) & (column < np.ceil(c1)))


def canny_edges(x: np.ndarray, key: Key) -> np.ndarray:
    """White edges on black."""
    del key
    return canny.edges(x[..., 0])[..., None].astype(float)


DIGIT_CORRUPTIONS: dict[str, Callable[[np.ndarray, Key], np.ndarray]] = {
    "shot-noise": shot_noise,
    "impulse-noise": impulse_noise,
    "glass-blur": glass_blur,
    "motion-blur": motion_blur,
    "shear": shear,
    "scale": scale,
    "rotate": rotate,
    "brightness": brightness,
    "translate": translate,
    "stripe": stripe,
    "fog": fog,
    "spatter": spatter,
    "dotted-line": dotted_line,
    "zigzag": zigzag,
    "canny-edges": canny_edges,
}

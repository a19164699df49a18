"""Filters that corruptions are made of, on images [N, H, W, C] in float64, all of a batch at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
from scipy import ndimage

from bnnbench.tasks.corruptions.draws import Key, integers, uniform

PLANE = (1, 2)  # axes of an image


def blurred(x: np.ndarray, sigma: float, mode: str = "nearest", truncate: float = 4.0) -> np.ndarray:
    """Gaussian blur in pixels, the border as scikit-image has it."""
    return ndimage.gaussian_filter(x, sigma, axes=PLANE, mode=mode, truncate=truncate)


def defocused(x: np.ndarray, radius: float, blur: float) -> np.ndarray:
    """Convolution with a disk of this radius whose edge is blurred by a 3 x 3 Gaussian."""
    reach = math.ceil(radius) + 1
    across = np.arange(-reach, reach + 1)
    disk = (np.add.outer(across**2, across**2) <= radius**2).astype(float)
    soft = np.exp(-0.5 * (np.arange(-1, 2) / blur) ** 2)
    for axis in (0, 1):
        disk = ndimage.correlate1d(disk, soft / soft.sum(), axis, mode="constant")
    return ndimage.correlate(x, (disk / disk.sum())[None, :, :, None], mode="mirror")


def moved(x: np.ndarray, radius: int, sigma: float, angle: np.ndarray) -> np.ndarray:
    """Motion blur: half a Gaussian of 2 radius + 1 pixels along each image's angle [N] in degrees, as ImageMagick's."""
    width = 2 * radius + 1
    weights = np.exp(-0.5 * (np.arange(width) / sigma) ** 2)
    n, h, w = np.arange(len(x))[:, None, None], *x.shape[1:3]
    found = np.zeros_like(x)
    for i, weight in enumerate(weights / weights.sum()):
        down, right = (np.ceil(i * f(np.deg2rad(angle)) - 0.5).astype(int)[:, None] for f in (np.sin, np.cos))
        rows, columns = np.clip(np.arange(h) + down, 0, h - 1), np.clip(np.arange(w) + right, 0, w - 1)
        found += weight * x[n, rows[:, :, None], columns[:, None, :]]
    return found


def zoomed(x: np.ndarray, factors: Iterable[float]) -> np.ndarray:
    """Sum over factors of square images enlarged about their centre, bilinear and cut to size."""
    channels_first, found = np.moveaxis(x, 3, 1), 0.0
    for factor in factors:
        across = enlarging(x.shape[1], factor)
        found = found + across @ channels_first @ across.T
    return np.moveaxis(np.asarray(found), 1, 3)


def enlarging(size: int, factor: float) -> np.ndarray:
    """Matrix [size, size] that enlarges a line of pixels about its centre, as `scipy.ndimage.zoom` of its middle."""
    kept = math.ceil(size / factor)
    first, wide = (size - kept) // 2, round(kept * factor)
    at = np.arange(wide) * ((kept - 1) / (wide - 1))
    low = np.clip(np.floor(at).astype(int), 0, kept - 2)
    matrix = np.zeros((wide, size))
    matrix[np.arange(wide), first + low] = 1 - (at - low)
    matrix[np.arange(wide), first + low + 1] = at - low
    cut = (wide - size) // 2
    return matrix[cut : cut + size]


def black(i: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Which pixel stands at an index, and whether there is one: none beyond the border."""
    return np.clip(i, 0, n - 1), (i >= 0) & (i < n)


def mirrored(i: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The same with the image mirrored at its border pixels: d c b | a b c d | c b a."""
    return np.abs((i + n - 1) % (2 * n - 2) - (n - 1)), np.ones(i.shape, dtype=bool)


def reflected(i: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The same with the image mirrored at its edge: c b a | a b c d | d c b."""
    i = i % (2 * n)
    return np.minimum(i, 2 * n - 1 - i), np.ones(i.shape, dtype=bool)


Border = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]


def sampled(x: np.ndarray, rows: np.ndarray, columns: np.ndarray, border: Border) -> np.ndarray:
    """Images at places [N, H, W] between the pixels, bilinear."""
    n, found = np.arange(len(x))[:, None, None], np.zeros_like(x)
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    for down in (0, 1):
        for right in (0, 1):
            weight = np.abs(1 - down - (rows - top)) * np.abs(1 - right - (columns - left))
            r, in_rows = border(top + down, x.shape[1])
            c, in_columns = border(left + right, x.shape[2])
            found += (weight * (in_rows & in_columns))[..., None] * x[n, r, c]
    return found


def mapped(x: np.ndarray, matrix: np.ndarray, shift: np.ndarray, border: Border) -> np.ndarray:
    """Images whose pixel (column, row) comes from matrix [N, 2, 2] (column, row) + shift [N, 2] of the given ones."""
    row, column = np.mgrid[: x.shape[1], : x.shape[2]].astype(float)
    at = np.einsum("nij,jhw->nihw", matrix, np.stack([column, row])) + shift[:, :, None, None]
    return sampled(x, at[:, 1], at[:, 0], border)


def plasma(key: Key, images: int, size: int, decay: float) -> np.ndarray:
    """Clouds [images, size, size] from 0 to 1, by midpoints of squares and diamonds on a torus (Fournier et al. 1982).

    From one corner on, each midpoint is the mean of four neighbours and a uniform draw, whose width falls by the square
    of `decay` from one scale to the next finer one.
    """
    draws, used = uniform(key, (images, size * size), -1.0, 1.0), 0
    clouds, step, width = np.zeros((images, size, size)), size, 100.0**2

    def midpoint(total: np.ndarray) -> np.ndarray:
        nonlocal used
        count = total[0].size
        drawn = draws[:, used : used + count].reshape(total.shape)
        used += count
        return total / 4 + width * drawn

    while step >= 2:
        half = step // 2
        corners = clouds[:, ::step, ::step]
        pairs = corners + np.roll(corners, -1, 1)
        clouds[:, half::step, half::step] = midpoint(pairs + np.roll(pairs, -1, 2))
        middles = clouds[:, half::step, half::step]
        across = middles + np.roll(middles, 1, 1) + corners + np.roll(corners, -1, 2)
        clouds[:, ::step, half::step] = midpoint(across)
        down = middles + np.roll(middles, 1, 2) + corners + np.roll(corners, -1, 1)
        clouds[:, half::step, ::step] = midpoint(down)
        step, width = half, width / decay**2
    clouds -= clouds.min(PLANE, keepdims=True)
    return clouds / clouds.max(PLANE, keepdims=True)


def shuffled(x: np.ndarray, reach: int, times: int, key: Key, *, swap: bool) -> np.ndarray:
    """Pixels displaced by up to `reach`, one after the other from the lower right corner, in place.

    Args:
        swap: whether half of the pixels, by chance, change places with neighbours; else all become copies of them.
    """
    n, size = np.arange(len(x)), x.shape[1]
    places = [(h, w) for h in range(size - reach, reach, -1) for w in range(size - reach, reach, -1)] * times
    down, right = integers(key, (2, len(x), len(places)), -reach, reach)
    chosen = uniform(key, (len(x), len(places))) < 0.5 if swap else None
    for i, (h, w) in enumerate(places):
        rows, columns = h + down[:, i], w + right[:, i]
        other = x[n, rows, columns]
        if chosen is None:
            x[:, h, w] = other
        else:
            own, some = x[:, h, w].copy(), chosen[:, i]
            x[some, h, w] = other[some]
            x[n[some], rows[some], columns[some]] = own[some]
    return x

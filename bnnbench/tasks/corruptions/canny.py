"""Edges of grey images (Canny 1986, doi:10.1109/TPAMI.1986.4767851), in the form that scikit-image has."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

SIGMA, LOW, HIGH = 1.0, 0.1, 0.2  # of the blur, and of the gradient: weak and strong edges
IN_ONE_IMAGE = np.zeros((3, 3, 3), dtype=bool)
IN_ONE_IMAGE[1] = True  # neighbours to all eight sides, none in another image


def edges(x: np.ndarray) -> np.ndarray:
    """Which pixels of images [N, H, W] in [0, 1] are edges; bool.

    The blurred image's gradient must be largest across the edge, 0.1 at least, and 0.2 somewhere along it. Border
    pixels are none.
    """
    within = _blurred(np.ones_like(x))  # the share of the blur that falls on the image
    smooth = _blurred(x) / (within + np.finfo(float).eps)
    down, right = _slope(smooth, 1), _slope(smooth, 2)
    size = np.hypot(down, right)
    thin = _ridge(down, right, size) & (size >= LOW)
    thin[:, [0, -1]] = thin[:, :, [0, -1]] = False
    labelled: Any = ndimage.label(thin, IN_ONE_IMAGE)
    parts, count = labelled
    strong = np.zeros(count + 1, dtype=bool)
    strong[parts[thin & (size >= HIGH)]] = True
    return strong[parts] & thin


def _blurred(x: np.ndarray) -> np.ndarray:
    return ndimage.gaussian_filter(x, SIGMA, axes=(1, 2), mode="constant")


def _slope(x: np.ndarray, axis: int) -> np.ndarray:
    """Sobel's filter: differences along one axis of an image, summed with weights 1, 2, 1 along the other."""
    return ndimage.correlate1d(ndimage.correlate1d(x, [-1, 0, 1], axis), [1, 2, 1], 3 - axis)


def _ridge(down: np.ndarray, right: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Where the gradient is at least as large as one pixel ahead and one behind along its own direction, interpolated
    between the two neighbours there."""
    steep, flat = np.maximum(abs(down), abs(right)), np.minimum(abs(down), abs(right))
    share = np.divide(flat, steep, out=np.zeros_like(flat), where=steep > 0)
    vertical, slanted = abs(down) > abs(right), np.where(down * right < 0, -1, 1)
    found = size > 0
    for side in (-1, 1):
        straight = np.where(vertical, _shifted(size, side, 0), _shifted(size, 0, side))
        diagonal = np.where(slanted > 0, _shifted(size, side, side), _ahead(size, side, vertical))
        found &= share * diagonal + (1 - share) * straight <= size
    return found


def _ahead(size: np.ndarray, side: int, vertical: np.ndarray) -> np.ndarray:
    """The diagonal neighbour of a gradient that falls from left to right: below left, or above right."""
    return np.where(vertical, _shifted(size, side, -side), _shifted(size, -side, side))


def _shifted(values: np.ndarray, down: int, right: int) -> np.ndarray:
    """Each pixel's neighbour so many rows down and columns to the right, 0 beyond the border."""
    padded = np.pad(values, ((0, 0), (1, 1), (1, 1)))
    h, w = values.shape[1:]
    return padded[:, 1 + down : 1 + down + h, 1 + right : 1 + right + w]

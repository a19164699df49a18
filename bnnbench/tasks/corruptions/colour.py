"""The fifteen corruptions of Hendrycks & Dietterich 2019 (arXiv 1903.12261) on small colour images.

Constants are those of CIFAR-10-C, five severities each. Every function takes images [N, H, W, 3] in [0, 1], the
constants of a severity and a key, and returns images that the caller clips and rounds down to 256 levels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from bnnbench import random
from bnnbench.tasks.corruptions import filters
from bnnbench.tasks.corruptions.draws import Key, integers, normal, poisson, uniform

if TYPE_CHECKING:
    from PIL.Image import Image

Corruption = Callable[[np.ndarray, Any, Key], np.ndarray]
PANES = (  # of frost: mean colour, its spread within a pane, spread of the panes' levels, exponent of the spectrum
    ((75.7, 148.0, 165.0), (21.2, 13.0, 12.5), 11.0, 0.9),
    ((198.1, 202.6, 211.9), (17.8, 18.1, 18.7), 8.7, 0.7),
    ((198.5, 202.9, 212.3), (17.6, 17.9, 18.5), 8.9, 0.7),
    ((142.7, 157.5, 170.1), (25.7, 25.7, 26.7), 10.4, 0.6),
    ((103.1, 114.4, 126.2), (34.3, 34.0, 33.3), 15.9, 0.65),
)
LUMA = np.array([0.299, 0.587, 0.114])  # of Rec. 601


def gaussian_noise(x: np.ndarray, c: float, key: Key) -> np.ndarray:
    """x + c e, e standard normal."""
    return x + c * normal(key, x.shape)


def shot_noise(x: np.ndarray, c: float, key: Key) -> np.ndarray:
    """Poisson(c x) / c."""
    return poisson(key, c * x) / c


def impulse_noise(x: np.ndarray, c: float, key: Key) -> np.ndarray:
    """A share c of all values becomes 0 or 1."""
    hit, white = (uniform(part, x.shape) for part in random.split(key, 2))
    return np.where(hit < c, white < 0.5, x)


def defocus_blur(x: np.ndarray, c: tuple[float, float], key: Key) -> np.ndarray:
    """Convolution with a disk: its radius, and the blur of its edge."""
    del key
    return filters.defocused(x, *c)


def glass_blur(x: np.ndarray, c: tuple[float, int, int], key: Key) -> np.ndarray:
    """Blurred, displaced pixel by pixel, blurred: sigma, the largest displacement, and how often.

    In the published images a pixel does not change places with its neighbour but becomes a copy of it.
    """
    sigma, reach, times = c
    levels = np.floor(filters.blurred(x, sigma) * 255)
    return filters.blurred(filters.shuffled(levels, reach, times, key, swap=False) / 255, sigma)


def motion_blur(x: np.ndarray, c: tuple[int, float], key: Key) -> np.ndarray:
    """Radius and sigma, along a line of -45 to 45 degrees."""
    return np.rint(255 * filters.moved(x, *c, uniform(key, (len(x),), -45, 45))) / 255


def zoom_blur(x: np.ndarray, c: float, key: Key) -> np.ndarray:
    """Mean of the image and of those enlarged by 1, 1.01 ... c."""
    del key
    factors = np.arange(1, c, 0.01)
    return (x + filters.zoomed(x, factors)) / (len(factors) + 1)


def snow(x: np.ndarray, c: tuple[float, float, float, float, int, float, float], key: Key) -> np.ndarray:
    """Flakes of enlarged noise above a threshold, falling, over an image that is made whiter: mean and spread of the
    noise, its enlargement, the threshold, radius and sigma of the fall, and what is left of the image."""
    mean, spread, factor, threshold, radius, sigma, left = c
    noise, fall = random.split(key, 2)
    flakes = filters.zoomed(mean + spread * normal(noise, (*x.shape[:3], 1)), [factor])
    flakes = np.floor(255 * np.clip(np.where(flakes < threshold, 0, flakes), 0, 1)) / 255
    flakes = np.rint(255 * filters.moved(flakes, radius, sigma, uniform(fall, (len(x),), -135, -45))) / 255
    white = np.maximum(x, 1.5 * (x @ LUMA)[..., None] + 0.5)
    return left * x + (1 - left) * white + flakes + flakes[:, ::-1, ::-1]


def frost(x: np.ndarray, c: tuple[float, float], key: Key) -> np.ndarray:
    """The image and a frosted pane, each with its share.

    The published panes are cut out of five photographs, which are not part of this package. Here a pane is a random
    field with the mean colour, the spread and the power law of the spectrum that one of the photographs has.
    """
    return c[0] * x + c[1] * panes(key, x.shape) / 255


def panes(key: Key, shape: Sequence[int]) -> np.ndarray:
    """Frosted panes [N, H, W, 3], from 0 to 255."""
    kind, level, noise = random.split(key, 3)
    chosen = integers(kind, shape[:1], 0, len(PANES))
    colour, spread, levels, exponent = (np.array(column)[chosen] for column in zip(*PANES, strict=True))
    frequency = np.hypot(*np.meshgrid(*(n * np.fft.fftfreq(n) for n in shape[1:3]), indexing="ij"))
    frequency[0, 0] = np.inf  # no mean
    field = np.fft.fft2(normal(noise, shape[:3])) * frequency ** -exponent[:, None, None]
    field = np.fft.ifft2(field).real
    field /= field.std((1, 2), keepdims=True)
    mean = colour + (levels * normal(level, shape[:1]))[:, None]
    return np.clip(mean[:, None, None] + field[..., None] * spread[:, None, None], 0, 255)


def fog(x: np.ndarray, c: tuple[float, float], key: Key) -> np.ndarray:
    """Clouds of a height and a roughness, the brightest pixel as bright as before."""
    most = x.max((1, 2, 3), keepdims=True)
    clouds = filters.plasma(key, len(x), x.shape[1], c[1])
    return (x + c[0] * clouds[..., None]) * most / (most + c[0])


def brightness(x: np.ndarray, c: float, key: Key) -> np.ndarray:
    """The largest of a pixel's three values raised by c, hue and saturation kept."""
    del key
    value = x.max(3, keepdims=True)
    raised = np.minimum(value + c, 1)
    return np.where(value > 0, x * np.divide(raised, value, out=np.zeros_like(value), where=value > 0), raised)


def contrast(x: np.ndarray, c: float, key: Key) -> np.ndarray:
    """Distances from the image's mean colour times c."""
    del key
    mean = x.mean((1, 2), keepdims=True)
    return (x - mean) * c + mean


def elastic_transform(x: np.ndarray, c: tuple[float, float, float], key: Key) -> np.ndarray:
    """A random affine map, then smooth random displacements: their height, their smoothness, and how far each of three
    points is moved, in sizes of the image."""
    height, smoothness, reach = (x.shape[1] * part for part in c)
    corners, fields = random.split(key, 2)
    x = _affine(x, uniform(corners, (len(x), 3, 2), -reach, reach))
    draws = uniform(fields, (2 * len(x), *x.shape[1:3], 1), -1, 1)
    shifts = height * filters.blurred(draws, smoothness, "reflect", 3)[..., 0]
    row, column = np.mgrid[: x.shape[1], : x.shape[2]]
    return filters.sampled(x, row + shifts[: len(x)], column + shifts[len(x) :], filters.reflected)


def _affine(x: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """The affine map that moves three points [N, 3, 2] about the centre, as (column, row), by so much."""
    centre, reach = x.shape[1] // 2, x.shape[1] // 3
    points = centre + reach * np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    there = np.concatenate([points + moves, np.ones((*moves.shape[:2], 1))], 2)
    back = np.linalg.solve(there, np.broadcast_to(points, moves.shape))  # [N, 3, 2]: where a pixel comes from
    return filters.mapped(x, back[:, :2].transpose(0, 2, 1), back[:, 2], filters.mirrored)


def pixelate(x: np.ndarray, c: float, key: Key) -> np.ndarray:
    """Made smaller by c, and large again, each pixel being the mean of those that it covers."""
    from PIL.Image import Resampling

    del key
    size = x.shape[2], x.shape[1]
    small = int(size[0] * c), int(size[1] * c)
    return _each(x, lambda image: image.resize(small, Resampling.BOX).resize(size, Resampling.BOX))


def jpeg_compression(x: np.ndarray, c: int, key: Key) -> np.ndarray:
    """JPEG of this quality."""
    from PIL.Image import open as opened

    del key

    def compressed(image: Image) -> Image:
        content = BytesIO()
        image.save(content, "JPEG", quality=c)
        return opened(content)

    return _each(x, compressed)


def _each(x: np.ndarray, change: Callable[[Image], Image]) -> np.ndarray:
    """What Pillow makes of each image."""
    from PIL.Image import fromarray

    levels = np.rint(255 * x).astype(np.uint8)
    return np.stack([np.asarray(change(fromarray(image))) for image in levels]) / 255


SEVERITIES: dict[str, tuple[Corruption, tuple[Any, ...]]] = {
    "gaussian-noise": (gaussian_noise, (0.04, 0.06, 0.08, 0.09, 0.10)),
    "shot-noise": (shot_noise, (500, 250, 100, 75, 50)),
    "impulse-noise": (impulse_noise, (0.01, 0.02, 0.03, 0.05, 0.07)),
    "defocus-blur": (defocus_blur, ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))),
    "glass-blur": (glass_blur, ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2))),
    "motion-blur": (motion_blur, ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5))),
    "zoom-blur": (zoom_blur, (1.06, 1.11, 1.16, 1.21, 1.26)),
    "snow": (
        snow,
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
    ),
    "frost": (frost, ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))),
    "fog": (fog, ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))),
    "brightness": (brightness, (0.05, 0.1, 0.15, 0.2, 0.3)),
    "contrast": (contrast, (0.75, 0.5, 0.4, 0.3, 0.15)),
    "elastic-transform": (
        elastic_transform,
        ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
    ),
    "pixelate": (pixelate, (0.95, 0.9, 0.85, 0.75, 0.65)),
    "jpeg-compression": (jpeg_compression, (80, 65, 58, 50, 40)),
}

"""Corrupted images against loops by hand, SciPy and Pillow, with the very draws; and the moments of the draws."""

import colorsys
import itertools
import math
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage, stats

from bnnbench import names, random
from bnnbench.tasks import TASKS
from bnnbench.tasks.corruptions import canny, colour, digits, draws, filters
from bnnbench.tasks.corruptions.families import corrupted, corrupted_digits
from bnnbench.tasks.images import padded
from bnnbench.tasks.sets import TestSet
from bnnbench.tasks.shifts import CIFAR_C, DIGITS

KEY = random.key(7)
MNIST_C = next(family for family in DIGITS if family.name == "mnist-c")
RANDOM = ["gaussian-noise", "shot-noise", "impulse-noise", "glass-blur", "motion-blur", "snow", "frost", "fog"]
RANDOM += ["elastic-transform"]


def photographs(n=4, side=32):
    """Smooth colour images in 256 levels, float32 [n, 3, side, side]."""
    draw = np.random.default_rng(0).random((n, 3, side, side))
    smooth = ndimage.gaussian_filter(draw, (0, 0, 2, 2), mode="wrap")
    low, high = smooth.min((1, 2, 3), keepdims=True), smooth.max((1, 2, 3), keepdims=True)
    return (np.rint(255 * (smooth - low) / (high - low)) / 255).astype(np.float32)


def strokes(n=4):
    """Blurred strokes on black in 256 levels, float32 [n, 1, 28, 28]."""
    rng, x = np.random.default_rng(1), np.zeros((n, 28, 28))
    for image in x:
        for _ in range(3):
            at, step = rng.uniform(6, 22, 2), rng.normal(size=2)
            for t in np.linspace(-5, 5, 40):
                row, column = np.clip(np.rint(at + t * step / np.hypot(*step)), 3, 24).astype(int)
                image[row : row + 2, column : column + 2] = 1
    soft = np.clip(1.5 * ndimage.gaussian_filter(x, (0, 0.6, 0.6)), 0, 1)
    return (np.rint(255 * soft) / 255).astype(np.float32)[:, None]


def last(x):
    """Images [N, C, H, W] as the corruptions take them."""
    return np.moveaxis(x, 1, 3).astype(np.float64)


def unused(name):
    """Images of another data set, which corruptions do not need."""
    raise AssertionError(name)


# The families.


def test_names_and_sizes():
    x, y = photographs(3), np.arange(3)
    found = CIFAR_C.make(TestSet(x, y), unused, False)
    assert len(found) == 75
    assert list(found)[:6] == [*(f"corrupted-gaussian-noise-{s}" for s in range(1, 6)), "corrupted-shot-noise-1"]
    assert list(CIFAR_C.make(TestSet(x, y), unused, True))[-1] == "corrupted-jpeg-compression-5-all"
    other = MNIST_C.make(TestSet(strokes(3), y), unused, False)
    assert len(other) == 15
    assert {"corrupted-zigzag", "corrupted-canny-edges", "corrupted-scale"} <= set(other)
    for sets in (found, other):
        assert all(own.change is not None and own.samples == 30 and len(own.x) == 3 for own in sets.values())
    assert {names.corruption(name) for name in found} == {(n, s) for n in colour.SEVERITIES for s in range(1, 6)}
    assert {names.corruption(name) for name in other} == {(n, None) for n in digits.DIGIT_CORRUPTIONS}


def test_families_stand_outside_of_all():
    by_task = {task.name: {family.name for family in task.test_set_families} for task in TASKS}
    assert "mnist-c" in by_task["mnist"] & by_task["mnist-lenet"]
    assert "cifar-c" in by_task["cifar10-sample-lenet"] & by_task["cifar10-alexnet"] & by_task["cifar100-conv3fc3"]
    assert MNIST_C.optional
    assert CIFAR_C.optional


@pytest.mark.parametrize("name", colour.SEVERITIES)
def test_colour_images_stay_images_and_repeat(name):
    x = photographs()
    for severity in range(1, 6):
        found = corrupted(name, severity, x)
        assert (found.dtype, found.shape) == (np.float32, x.shape)
        assert 0 <= found.min() <= found.max() <= 1
        assert np.abs(255 * found - np.rint(255 * found)).max() < 1e-4  # 256 levels
        assert not np.array_equal(found, x)
    assert np.array_equal(found, corrupted(name, 5, x))


@pytest.mark.parametrize("name", digits.DIGIT_CORRUPTIONS)
def test_digits_stay_images_and_repeat_also_where_they_are_padded(name):
    x = strokes()
    found = corrupted_digits(name, x)
    assert (found.dtype, found.shape) == (np.float32, x.shape)
    assert 0 <= found.min() <= found.max() <= 1
    assert not np.array_equal(found, x)
    assert np.array_equal(found, corrupted_digits(name, x))
    assert np.array_equal(padded(found), corrupted_digits(name, padded(x)))


@pytest.mark.parametrize("name", RANDOM)
def test_each_image_has_draws_of_its_own(name):
    one = photographs(1)
    found = corrupted(name, 5, np.concatenate([one, one]))
    assert not np.array_equal(found[0], found[1])


@pytest.mark.parametrize("name", [*RANDOM[:3], "fog", "zoom-blur", "contrast", "brightness", "pixelate"])
def test_severities_rise(name):
    x = photographs(8)
    errors = [np.square(corrupted(name, severity, x) - x).mean() for severity in range(1, 6)]
    assert errors == sorted(errors)


# Noise.


@pytest.mark.parametrize("severity", [1, 5])
def test_moments_of_noise(severity):
    """Of grey images, far from both ends: mean and variance of half a million draws."""
    x = np.full((200, 3, 32, 32), np.float32(128 / 255))
    n, grey = x.size, 128 / 255
    c = colour.SEVERITIES["gaussian-noise"][1][severity - 1]
    found = corrupted("gaussian-noise", severity, x).astype(float) + 0.5 / 255  # levels are rounded down
    assert found.mean() == pytest.approx(grey, abs=5 * c / math.sqrt(n))
    assert found.var() == pytest.approx(c**2 + 1 / (12 * 255**2), rel=5 * math.sqrt(2 / n))
    c = colour.SEVERITIES["shot-noise"][1][severity - 1]
    found = colour.shot_noise(last(x), c, KEY)
    assert found.mean() == pytest.approx(grey, abs=5 * math.sqrt(grey / c / n))
    assert found.var() == pytest.approx(grey / c, rel=5 * math.sqrt((2 + 1 / (c * grey)) / n))
    c = colour.SEVERITIES["impulse-noise"][1][severity - 1]
    found = corrupted("impulse-noise", severity, x)
    for end in (0, 1):
        assert (found == end).mean() == pytest.approx(c / 2, abs=5 * math.sqrt(c / 2 / n))
    assert set(np.unique(found).tolist()) == {0.0, 1.0, float(np.float32(128 / 255))}


@pytest.mark.parametrize("rate", [0.0, 0.02, 3.0, 250.0])
def test_poisson_draws_have_their_distribution(rate):
    found = draws.poisson(KEY, np.full((100, 1000), rate)).reshape(-1)
    if not rate:
        assert not found.any()
        return
    edges = np.unique(stats.poisson.ppf(np.linspace(0.02, 0.98, 25), rate))
    chances = np.diff([0, *stats.poisson.cdf(edges, rate), 1])
    counts = np.bincount(np.searchsorted(edges, found), minlength=len(edges) + 1)
    assert stats.chisquare(counts, chances * len(found)).pvalue > 1e-5


# Blurs.


def test_defocus_is_a_convolution_with_a_soft_disk():
    x = last(photographs(1))
    for radius, blur in ((0.3, 0.4), (1, 0.2), (1.5, 0.1)):
        disk = np.array([[float(a * a + b * b <= radius**2) for a in range(-5, 6)] for b in range(-5, 6)])
        soft = np.exp(-0.5 * (np.arange(-1, 2) / blur) ** 2)
        kernel = ndimage.convolve(disk / disk.sum(), np.outer(soft, soft) / soft.sum() ** 2, mode="constant")
        framed = np.pad(x[0], ((5, 5), (5, 5), (0, 0)), mode="reflect")
        want = np.array(
            [[np.tensordot(kernel, framed[i : i + 11, j : j + 11], 2) for j in range(32)] for i in range(32)]
        )
        np.testing.assert_allclose(filters.defocused(x, radius, blur)[0], want, atol=1e-12)


@pytest.mark.parametrize("angle", [-135.0, -45.0, 0.0, 33.0, 90.0])
def test_motion_takes_pixels_along_a_line(angle):
    x = last(photographs(1))
    radius, sigma = 6, 2.0
    weights = [math.exp(-(i**2) / (2 * sigma**2)) for i in range(13)]
    want = np.zeros_like(x[0])
    for i, weight in enumerate(weights):
        right = math.ceil(i * math.cos(math.radians(angle)) - 0.5)
        down = math.ceil(i * math.sin(math.radians(angle)) - 0.5)
        for row in range(32):
            for column in range(32):
                there = min(max(row + down, 0), 31), min(max(column + right, 0), 31)
                want[row, column] += weight / sum(weights) * x[0][there]
    np.testing.assert_allclose(filters.moved(x, radius, sigma, np.array([angle]))[0], want, atol=1e-12)


@pytest.mark.parametrize("severity", range(1, 6))
def test_zoom_is_that_of_scipy(severity):
    x = last(photographs(2))
    most = colour.SEVERITIES["zoom-blur"][1][severity - 1]
    for n in range(2):
        total = x[n].copy()
        for factor in np.arange(1, most, 0.01):
            kept = math.ceil(32 / factor)
            first = (32 - kept) // 2
            middle = x[n, first : first + kept, first : first + kept]
            large = ndimage.zoom(middle, (factor, factor, 1), order=1)
            cut = (len(large) - 32) // 2
            total += large[cut : cut + 32, cut : cut + 32]
        want = total / (1 + len(np.arange(1, most, 0.01)))
        np.testing.assert_allclose(colour.zoom_blur(x, most, KEY)[n], want, atol=1e-12)


@pytest.mark.parametrize("swap", [False, True])
def test_glass_displaces_pixel_by_pixel(swap):
    x = np.rint(255 * last(strokes(2) if swap else photographs(2)))
    size, reach, times = x.shape[1], 1, 2
    steps = times * (size - 2 * reach) ** 2
    moves = random.randint(KEY, (2, 2, steps), 2 * reach).numpy() - reach
    chosen = random.uniform(KEY, (2, steps), dtype=torch.float64).numpy() < 0.5
    want = x.copy()
    for n in range(2):
        i = 0
        for _ in range(times):
            for row in range(size - reach, reach, -1):
                for column in range(size - reach, reach, -1):
                    other = row + moves[0, n, i], column + moves[1, n, i]
                    if swap and chosen[n, i]:
                        want[n, row, column], want[n][other] = want[n][other].copy(), want[n, row, column].copy()
                    elif not swap:
                        want[n, row, column] = want[n][other]
                    i += 1
    np.testing.assert_array_equal(filters.shuffled(x.copy(), reach, times, KEY, swap=swap), want)
    if swap:
        assert sorted(want[0].ravel()) == sorted(x[0].ravel())  # no pixel is lost


def test_glass_on_digits_blurs_columns_alone():
    x = np.zeros((1, 1, 28, 28), np.float32)
    x[0, 0, 14, 14] = 1
    assert (digits._along_columns(last(x))[0, :, :, 0].sum(0) > 0).nonzero()[0].tolist() == [14]


# Weather.


@pytest.mark.parametrize(("size", "decay"), [(8, 3.0), (32, 1.75)])
def test_clouds_by_hand(size, decay):
    """Midpoints of squares and diamonds, with indices modulo the size."""
    u = draws.uniform(KEY, (2, size * size), -1, 1)
    found = filters.plasma(KEY, 2, size, decay)
    for n in range(2):
        m, stream, step, width = np.zeros((size, size)), iter(u[n]), size, 1e4
        while step >= 2:
            half = step // 2
            grid = range(0, size, step)
            at = lambda i, j, m=m: m[i % size, j % size]  # noqa: E731
            for i in grid:
                for j in grid:
                    corners = at(i, j) + at(i + step, j) + at(i, j + step) + at(i + step, j + step)
                    m[i + half, j + half] = corners / 4 + width * next(stream)
            for across in (True, False):
                new = {}
                for i in grid:
                    for j in grid:
                        p, q = (i, j + half) if across else (i + half, j)
                        around = at(p - half, q) + at(p + half, q) + at(p, q - half) + at(p, q + half)
                        new[p, q] = around / 4 + width * next(stream)
                for place, value in new.items():
                    m[place] = value
            step, width = half, width / decay**2
        m = (m - m.min()) / (m.max() - m.min())
        np.testing.assert_allclose(found[n], m, atol=1e-12)


def test_fog_keeps_the_brightest_pixel_within_the_image():
    x = last(photographs())
    found = colour.fog(x, (1.5, 1.75), KEY)
    assert (found <= x.max((1, 2, 3), keepdims=True) + 1e-12).all()
    clouds = filters.plasma(KEY, 4, 32, 1.75)[..., None]
    most = x.max((1, 2, 3), keepdims=True)
    np.testing.assert_allclose(found, (x + 1.5 * clouds) * most / (most + 1.5))


def test_panes_have_the_moments_and_spectrum_of_the_photographs():
    """As measured on the published photographs, resized and cut as for CIFAR-10-C; each kind by its own colour."""
    kind, *_ = random.split(KEY, 3)
    found, chosen = colour.panes(KEY, (2000, 32, 32, 3)), draws.integers(kind, (2000,), 0, 5)
    radius = np.hypot(*np.meshgrid(32 * np.fft.fftfreq(32), 32 * np.fft.fftfreq(32)))
    for k, (mean, spread, levels, exponent) in enumerate(colour.PANES):
        own = found[chosen == k]
        assert 300 < len(own) < 500
        np.testing.assert_allclose(own.mean((0, 1, 2)), mean, atol=4 * levels / math.sqrt(len(own)) + 1.5)
        np.testing.assert_allclose(own.std((1, 2)).mean(0), spread, rtol=0.06)
        power = (np.abs(np.fft.fft2(own[..., 1] - own[..., 1].mean((1, 2), keepdims=True))) ** 2).mean(0)
        rings = [power[(radius >= r) & (radius < r + 1)].mean() for r in range(2, 15)]
        slope = np.polyfit(np.log(np.arange(2, 15) + 0.5), np.log(rings), 1)[0]
        assert slope == pytest.approx(-2 * exponent, abs=0.15)


def test_snow_falls_on_both_sides_and_whitens():
    x = np.zeros((500, 32, 32, 3))
    found = colour.snow(x, colour.SEVERITIES["snow"][1][4], KEY)
    np.testing.assert_allclose(found, found[:, ::-1, ::-1])  # flakes, and the same turned by half a turn
    assert found.min() == pytest.approx(0.2 * 0.5)  # of black: 0.2 of the white one, which is 0.5
    assert found[..., 0].mean() > 0.15


# Colours and places.


def test_brightness_raises_the_value_of_hsv():
    x = last(photographs(1, 8))
    x[0, 0, 0] = 0  # black has no hue
    found = colour.brightness(x, 0.2, KEY)
    for row in range(8):
        for column in range(8):
            h, s, v = colorsys.rgb_to_hsv(*x[0, row, column])
            want = colorsys.hsv_to_rgb(h, s, min(v + 0.2, 1))
            assert found[0, row, column] == pytest.approx(want, abs=1e-12)


def test_contrast_by_hand():
    x = last(photographs(2))
    for n in range(2):
        for c in range(3):
            mean = x[n, :, :, c].mean()
            np.testing.assert_allclose(colour.contrast(x, 0.3, KEY)[n, :, :, c], mean + 0.3 * (x[n, :, :, c] - mean))


def test_jpeg_and_pixelate_are_pillows_to_the_bit():
    x = photographs()
    for severity, (quality, share) in enumerate(zip((80, 65, 58, 50, 40), (30, 28, 27, 24, 20), strict=True), 1):
        for found, image in zip(corrupted("jpeg-compression", severity, x), x, strict=True):
            content = BytesIO()
            Image.fromarray(np.rint(255 * np.moveaxis(image, 0, 2)).astype(np.uint8)).save(
                content, "JPEG", quality=quality
            )
            assert np.array_equal(np.rint(255 * found), np.moveaxis(np.asarray(Image.open(content)), 2, 0))
        for found, image in zip(corrupted("pixelate", severity, x), x, strict=True):
            small = Image.fromarray(np.rint(255 * np.moveaxis(image, 0, 2)).astype(np.uint8)).resize(
                (share, share), Image.Resampling.BOX
            )
            assert np.array_equal(
                np.rint(255 * found), np.moveaxis(np.asarray(small.resize((32, 32), Image.Resampling.BOX)), 2, 0)
            )


def test_elastic_maps_against_scipy():
    """Three points land where they were sent, and pixels come from where SciPy takes them."""
    x = last(photographs(2))
    moves = draws.uniform(KEY, (2, 3, 2), -2.5, 2.5)
    found = colour._affine(x, moves)
    for n in range(2):
        points = np.array([[26.0, 26.0], [26.0, 6.0], [6.0, 6.0]])
        forth = np.linalg.lstsq(np.c_[points, np.ones(3)], points + moves[n], rcond=None)[0]  # [x y 1] -> there
        back = np.linalg.inv(np.c_[forth, [0, 0, 1]])
        row, column = np.mgrid[:32, :32]
        at = np.stack([column, row, np.ones((32, 32))], -1) @ back
        for c in range(3):
            want = ndimage.map_coordinates(x[n, :, :, c], [at[..., 1], at[..., 0]], order=1, mode="mirror")
            np.testing.assert_allclose(found[n, :, :, c], want, atol=1e-9)


def test_elastic_fields_against_scipy():
    x = last(photographs(2))
    corners, fields = random.split(KEY, 2)
    found = colour.elastic_transform(x, (0.1, 0.03, 0.0), KEY)  # no affine map
    u = draws.uniform(fields, (4, 32, 32, 1), -1, 1)[..., 0]
    del corners
    for n in range(2):
        down, right = (
            3.2 * ndimage.gaussian_filter(part, 0.96, mode="reflect", truncate=3) for part in (u[n], u[2 + n])
        )
        row, column = np.mgrid[:32, :32]
        for c in range(3):
            want = ndimage.map_coordinates(x[n, :, :, c], [row + down, column + right], order=1, mode="reflect")
            np.testing.assert_allclose(found[n, :, :, c], want, atol=1e-9)


@pytest.mark.parametrize("name", ["shear", "scale", "rotate", "translate"])
def test_affine_maps_of_digits_against_scipy(name):
    """Matrices of (row, column), each with its sign; the centre stays but where the image is shifted."""
    x = last(strokes(6))
    found = digits.DIGIT_CORRUPTIONS[name](x, KEY)
    sign = draws.signs(KEY, (6, 2) if name == "translate" else (6,))
    for n in range(6):
        angle = 0.4 * sign[n] if name != "translate" else 0.0
        cos, sin = np.cos(angle), np.sin(angle)
        matrix = {
            "shear": [[cos, 0], [-sin, 1]], "scale": [[1 / 0.7, 0], [0, 1 / 0.7]],
            "rotate": [[cos, sin], [-sin, cos]], "translate": [[1, 0], [0, 1]],
        }[name]  # fmt: skip
        offset = 13.5 - np.array(matrix) @ [13.5, 13.5] if name != "translate" else 3 * sign[n][::-1]
        framed = np.pad(x[n, :, :, 0], 1)  # black beyond, between which and the border SciPy does not interpolate
        want = ndimage.affine_transform(framed, matrix, offset + 1 - np.array(matrix) @ [1, 1], order=1)[1:-1, 1:-1]
        np.testing.assert_allclose(found[n, :, :, 0], want, atol=1e-9)
    assert set(np.unique(sign)) == {-1, 1}


def test_stripes_invert_two_quarters():
    x = strokes(1)
    want = x.copy()
    want[..., :7], want[..., 21:] = 1 - x[..., :7], 1 - x[..., 21:]
    np.testing.assert_allclose(corrupted_digits("stripe", x), want, atol=1e-6)


def test_brightness_of_digits():
    np.testing.assert_allclose(digits.brightness(last(strokes()), KEY), np.minimum(last(strokes()) + 0.5, 1))


def line(c0, r0, c1, r1):
    """One line by hand: fades with the distance in rows, between two columns."""
    found = np.zeros((28, 28))
    for row in range(28):
        for column in range(math.floor(c0), min(math.ceil(c1), 28)):
            far = abs(row - (r0 + (r1 - r0) / (c1 - c0) * (column - c0)))
            found[row, column] = max(0.0, math.log(1 - far / 2.3) + 1) if far < 2.3 - 1e-10 else 0.0
    return found


def test_dotted_lines_by_hand():
    x = np.zeros((5, 28, 28, 1))
    ends = draws.integers(KEY, (5, 2), 0, 27)
    for found, (r0, r1) in zip(digits.dotted_line(x, KEY), ends, strict=True):
        want = line(0, r0, 27, r1)
        for first in range(0, 28, 4):
            want[:, first : first + 2] = 0
        np.testing.assert_allclose(found[..., 0], want, atol=1e-12)


def test_zigzags_by_hand():
    x = np.zeros((30, 28, 28, 1))
    start, rise = random.split(KEY, 2)
    starts, rises = draws.integers(start, (30,), 0, 27), draws.integers(rise, (30,), -5, 5)
    for found, row, up in zip(digits.zigzag(x, KEY), starts, rises, strict=True):
        angle = math.atan(up / 23)
        length = 23 / math.cos(angle)
        points, i = [(0.0, 0.0)], 0
        while (2 * i + 1) * 2 <= length:
            points.append(((2 * i + 1) * 2.0, 2.0 if i % 2 == 0 else -2.0))
            i += 1
        whole = 4 * math.floor(length / 4)
        points.append((length, points[-1][1] / (2 * (length - whole))))
        turned = [
            (2 + math.cos(angle) * a - math.sin(angle) * b, row + math.sin(angle) * a + math.cos(angle) * b)
            for a, b in points
        ]
        want = sum(line(*p, *q) for p, q in itertools.pairwise(turned))
        np.testing.assert_allclose(found[..., 0], want, atol=1e-9)


def test_edges_by_hand():
    """Gradient, thinning along it and the two thresholds, pixel by pixel."""
    x = strokes(4)[:, 0].astype(float)
    found = canny.edges(x)
    assert found.any(axis=(1, 2)).all()
    for image, own in zip(x, found, strict=True):
        assert np.array_equal(own, _edges(image))
    assert not canny.edges(np.full((1, 28, 28), 0.7)).any()


def _edges(image):
    blur = lambda a: ndimage.gaussian_filter(a, 1.0, mode="constant")  # noqa: E731
    smooth = blur(image) / (blur(np.ones_like(image)) + np.finfo(float).eps)
    down, right = ndimage.sobel(smooth, 0), ndimage.sobel(smooth, 1)
    size = np.hypot(down, right)
    thin = np.zeros((28, 28), dtype=bool)
    for i in range(1, 27):
        for j in range(1, 27):
            a, b = abs(down[i, j]), abs(right[i, j])
            if size[i, j] < 0.1:
                continue
            s = 1 if down[i, j] * right[i, j] >= 0 else -1
            straight = ((1, 0), (-1, 0)) if a > b else ((0, 1), (0, -1))
            slanted = ((1, s), (-1, -s)) if a > b else ((s, 1), (-s, -1))
            w = min(a, b) / max(a, b)
            ahead = [w * size[i + p, j + q] + (1 - w) * size[i + c, j + d]
                     for (p, q), (c, d) in zip(slanted, straight, strict=True)]  # fmt: skip
            thin[i, j] = size[i, j] >= max(ahead)
    edges = thin & (size >= 0.2)
    while True:  # weak ones that touch an edge
        grown = thin & ndimage.binary_dilation(edges, np.ones((3, 3)))
        if (grown == edges).all():
            return edges
        edges = grown

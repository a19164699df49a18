"""Corruptions against a published implementation, and against scikit-image, where they are installed.

`imagecorruptions` is Hendrycks & Dietterich's code for ImageNet-C; our functions are given its constants, and it is
given our draws. Its pixels lie from 0 to 255 and are compared before they are rounded.
"""

import numpy as np
import pytest
from PIL import Image
from test_corruptions import KEY, last, photographs, strokes

from bnnbench import random
from bnnbench.tasks.corruptions import canny, colour, digits, draws, filters

peer = pytest.importorskip("imagecorruptions.corruptions")
skimage = pytest.importorskip("skimage")

X = last(photographs())
IMAGES = [Image.fromarray(np.rint(255 * image).astype(np.uint8)) for image in X]
CONSTANTS = {  # of ImageNet-C
    "contrast": (0.4, 0.3, 0.2, 0.1, 0.05),
    "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),
    "defocus_blur": ((3, 0.1), (4, 0.5), (6, 0.5)),
    "zoom_blur": (1.11, 1.16),
    "jpeg_compression": (25, 18, 15, 10, 7),
}


@pytest.mark.parametrize(("name", "severity"), [(n, s) for n, own in CONSTANTS.items() for s in range(1, len(own) + 1)])
def test_what_draws_nothing(name, severity):
    found = 255 * getattr(colour, name)(X, CONSTANTS[name][severity - 1], KEY)
    for own, image in zip(found, IMAGES, strict=True):
        want = np.asarray(getattr(peer, name)(image, severity), dtype=float)
        np.testing.assert_allclose(np.clip(own, 0, 255), want, atol=2e-4)  # it computes in float32, in parts


@pytest.mark.parametrize("angle", [-130.0, -20.0, 44.0])
def test_motion(angle):
    found = filters.moved(255 * X, 9, 2.5, np.full(len(X), angle))
    for own, image in zip(found, IMAGES, strict=True):
        np.testing.assert_allclose(own, peer._motion_blur(np.array(image, dtype=float), 9, 2.5, angle), atol=1e-3)


@pytest.mark.parametrize("decay", [3.0, 1.5])
def test_clouds(decay, monkeypatch):
    drawn = draws.uniform(KEY, (1, 32 * 32), -1, 1)[0]
    used = 0

    def uniform(low, high, size):
        nonlocal used
        count = int(np.prod(size))
        used += count
        return high * drawn[used - count : used].reshape(size)

    monkeypatch.setattr(np.random, "uniform", uniform)
    want = peer.plasma_fractal(32, decay)
    np.testing.assert_allclose(filters.plasma(KEY, 1, 32, decay)[0], want, atol=1e-5)


def test_panes_of_frost_are_like_the_photographs():
    """Mean colour and spread over the five photographs, resized and cut as CIFAR-10-C does."""
    cv2 = pytest.importorskip("cv2")
    folder, rng, want = peer.__file__.rpartition("/")[0] + "/frost/", np.random.default_rng(0), []
    for name in ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg"):
        whole = cv2.resize(cv2.imread(folder + name), (0, 0), fx=0.2, fy=0.2)[..., ::-1]
        rows, columns = (rng.integers(0, side - 32, 400) for side in whole.shape[:2])
        want.append(np.stack([whole[r : r + 32, c : c + 32] for r, c in zip(rows, columns, strict=True)]))
    found = colour.panes(KEY, (2000, 32, 32, 3))
    kind, *_ = random.split(KEY, 3)
    chosen = draws.integers(kind, (2000,), 0, 5)
    for k, crops in enumerate(want):
        own = found[chosen == k]
        np.testing.assert_allclose(own.mean((0, 1, 2)), crops.mean((0, 1, 2)), atol=5)
        np.testing.assert_allclose(own.std((1, 2)).mean(0), crops.std((1, 2)).mean(0), rtol=0.1)


def test_edges():
    x = strokes(8)[:, 0].astype(float)
    from skimage.feature import canny as theirs

    assert np.array_equal(canny.edges(x), np.stack([theirs(image) for image in x]))


def test_rotations():
    from skimage.transform import AffineTransform, warp

    x, sign = last(strokes(6)), draws.signs(KEY, (6,))
    for own, image, s in zip(digits.rotate(x, KEY), x, sign, strict=True):
        turn = AffineTransform(rotation=0.4 * s).params
        turn[:2, 2] = 13.5 - turn[:2, :2] @ [13.5, 13.5]
        np.testing.assert_allclose(own[..., 0], warp(image[..., 0], AffineTransform(matrix=turn)), atol=1e-9)

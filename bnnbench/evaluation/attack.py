"""Adversarial images: the gradient of the averaged predictive, through all of its samples.

The attacker maximises L(x) = -log (1/S) sum_s p(y | x, w_s). With l_s = log p(y | x, w_s),

    grad L = -sum_s softmax(l)_s grad l_s,

which is accumulated a few samples at a time, relative to the largest so far.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from bnnbench.engine.predict import Component, row_chunks
from bnnbench.model import CategoricalPredictive
from bnnbench.tasks.attacks import Attack


def attacked(x: Tensor, first: Tensor, sign: Callable[[Tensor], Tensor], attack: Attack, scale: Tensor) -> Tensor:
    """Images x [R, N, C, H, W] with pixels in [0, 1], after an attack.

    Args:
        first: sign of the gradient at x, which attacks of all strengths share.
        sign: the same at other images.
        scale: standard deviations [R, C, 1, 1] that images are divided by.
    """
    image = stepped(x, x, first, attack, scale)
    for _ in range(attack.steps - 1):
        image = stepped(x, image, sign(image), attack, scale)
    return image


def stepped(x: Tensor, image: Tensor, sign: Tensor, attack: Attack, scale: Tensor) -> Tensor:
    """One step from `image`, kept near the unchanged x and, in pixel units, in [0, 1]."""
    unit = torch.where(scale.isfinite(), scale, 0.0)[:, None] if attack.standardised else 1.0  # infinite: constant
    image = image + attack.step * unit * sign
    if attack.steps > 1:
        image = torch.maximum(torch.minimum(image, x + attack.strength * unit), x - attack.strength * unit)
    return image if attack.standardised else image.clamp(0.0, 1.0)


def gradient_sign(some: Sequence[Component], x: Tensor, y: Tensor, rows: int) -> Tensor:
    """Sign of the gradient of the attacker's loss at labels y [R, N], `rows` images at a time.

    Args:
        some: the predictive, a few components at a time.
    """
    chunks = zip(row_chunks(x, rows), row_chunks(y, rows), strict=True)
    return torch.cat([loss_gradient(some, images, labels).sign() for images, labels in chunks], 1)


def loss_gradient(some: Sequence[Component], x: Tensor, y: Tensor) -> Tensor:
    """Gradient of -log (1/S) sum_s p(y | x, w_s) with respect to x, in the shape of x [R, N, C, H, W]."""
    total = torch.full(y.shape, -torch.inf, dtype=x.dtype, device=x.device)
    gradient = torch.zeros_like(x)
    for chunk in some:
        with torch.enable_grad():
            image = x.detach().requires_grad_()
            predictive = chunk(image)
            assert isinstance(predictive, CategoricalPredictive)
            labels = y[:, None, :, None].expand(*predictive.log_probs.shape[:3], 1)
            value = predictive.log_probs.gather(-1, labels)[..., 0].logsumexp(1)
            if not value.requires_grad:  # predictions that do not depend on the image (`constant`)
                return gradient
            (own,) = torch.autograd.grad(value.sum(), image)
        together = torch.logaddexp(total, value.detach())
        before, now = (total - together).exp(), (value.detach() - together).exp()
        gradient = gradient * _like(before, x) + own * _like(now, x)
        total = together
    return -gradient


def _like(values: Tensor, x: Tensor) -> Tensor:
    return values.reshape(*values.shape, *[1] * (x.dim() - values.dim()))

"""What an adversarial attack is; the gradient it follows is taken in `bnnbench.evaluation.attack`."""

from __future__ import annotations

from typing import NamedTuple


class Attack(NamedTuple):
    """Steps along the sign of the gradient of -log p(y | x), the predictive being the mixture over all samples.

    One step of the whole strength is the fast gradient sign method (Goodfellow et al. 2015, arXiv 1412.6572); several
    are projected gradient descent from the image itself (Madry et al. 2018, arXiv 1706.06083).

    Attributes:
        strength: largest change of a pixel, in pixel units of [0, 1], or of standardised pixels.
        steps: number of steps, each of 2.5 strength / steps, or of the strength if there is one.
        standardised: whether the strength is in units of the standardised image; the result is then not clipped.
    """

    strength: float
    steps: int = 1
    standardised: bool = False

    @property
    def step(self) -> float:
        """Length of one step."""
        return self.strength if self.steps == 1 else 2.5 * self.strength / self.steps

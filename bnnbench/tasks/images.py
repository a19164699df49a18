"""Image classification on official test sets, with the networks of the field and test sets under distribution shift."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from torch import nn

from bnnbench.data.arrays import Data
from bnnbench.nets import MLP, AlexNet, Conv3FC3, LeNet
from bnnbench.tasks.base import TASKS, Task
from bnnbench.tasks.budget import Budget
from bnnbench.tasks.shifts import CIFAR_C, COLOURS, DIGITS

SAMPLE_WARNING = (
    "Never compare these numbers with published ones: a small sample of the images stands in for the data set."
)
PADDED = 32  # pixels on a side that the convolutional networks take


def wide_mlp(channels: int, classes: int) -> nn.Module:
    """784-1200-1200-10 (Blundell et al. 2015)."""
    return nn.Sequential(nn.Flatten(), MLP(channels * 28 * 28, (1200, 1200), classes))


@dataclass(frozen=True)
class ImageTask(Task):
    """Images with an official test set.

    Attributes:
        net: the plain network from numbers of channels and classes.
        pad: whether images are padded with black to 32 x 32 pixels.
    """

    record_layers: bool = True
    fixed_input_shape: bool = True
    net: Callable[[int, int], nn.Module] = wide_mlp
    pad: bool = False

    def read(self, root: Path | None) -> Data:
        data = super().read(root)
        return dataclasses.replace(data, x=self.shaped(data.x))

    def network(self, rule: str, shape: Sequence[int], outputs: int) -> nn.Module:
        del rule
        return self.net(shape[0], outputs)

    def shaped(self, x: np.ndarray) -> np.ndarray:
        return padded(x) if self.pad else x


def padded(x: np.ndarray) -> np.ndarray:
    """Images [N, C, H, W] with black around them, [N, C, 32, 32]."""
    rows, columns = PADDED - x.shape[2], PADDED - x.shape[3]
    border = (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2)
    return np.pad(x, ((0, 0), (0, 0), *border))


def budgets(epoch: int, times: int = 1) -> tuple[Budget, ...]:
    """5 and 40 epochs of so many updates, or some times as many; validation checks of large networks are few, with few
    samples."""
    quick, full = 5 * times, 40 * times
    return (
        Budget("smoke", 10, 2, 2, "does everything run?", 1),
        Budget("quick", quick * epoch, 20, 10, f"{quick} epochs", 3),
        Budget("full", full * epoch, 100, 40, f"{full} epochs", 3, pruning=True),
        Budget("long", 4 * full * epoch, 100, 40, f"{4 * full} epochs", 3),
    )


# 40 epochs are no convergence of so wide a q, and what it converges to has forgotten its data.
STOPPED = {"early_stopping": True, "anneal": 0.0, "sigma": 0.05}
# One configuration for all image tasks, by the validation rows of `mnist`: docs/tuning.md says how each was chosen.
TUNED = {
    "map": {"lr": 1e-3},
    "ensemble-deep": {"lr": 1e-3},
    "ensemble-bootstrap": {"lr": 1e-3},
    "ensemble-adversarial": {"lr": 1e-3},
    "ensemble-repulsive": {"lr": 1e-3},
    "svgd": {"lr": 1e-3, "particles": 5},
    "mc-dropout": {"lr": 1e-3, "rate": 0.5},
    "bbp-gaussian": {"lr": 3e-4, **STOPPED},
    "bbp-laplace": {"lr": 3e-4, **STOPPED},
    "bbp-mixture": {"lr": 3e-4, "weight": 0.75, "ratio": 0.3, **STOPPED},
    "bbp-local": {"lr": 3e-4, **STOPPED},
    "bbp-flipout": {"lr": 3e-4, **STOPPED},
    "multiplicative": {"lr": 1e-3, "prior_scale": 4.0, **STOPPED, "sigma": 0.02},
    "ivon": {"samples": 1, "early_stopping": True},
    "vbll": {"lr": 1e-3, "covariance": "diagonal"},
    "laplace-kron": {"lr": 1e-3, "precision": "300"},
    "laplace-diag": {"lr": 1e-3, "precision": "1000"},
    "laplace-last": {"lr": 1e-3, "structure": "kronecker"},
    "swag": {"lr": 1e-3, "swa_lr": 3e-4, "samples": 30, "rank": 20},
    "batch-ensemble": {"lr": 1e-3},
    "rank-1": {"lr": 1e-3},
    "sngp": {"lr": 1e-3, "features": 512},
    "multi-swag": {"lr": 1e-3, "swa_lr": 3e-4, "samples": 30, "rank": 20},
    "ensemble-laplace": {"lr": 1e-3, "precision": "300"},
    "sgld": {"lr": 0.3, "final_lr_fraction": 0.99, "burn_in": 0.25, "samples": 30},
    "psgld": {"lr": 3e-3, "final_lr_fraction": 0.99, "burn_in": 0.25, "samples": 30},
    "sghmc": {"lr": 5e-4, "final_lr_fraction": 0.1, "burn_in": 0.8, "samples": 30},
    "csgmcmc": {"lr": 0.3, "samples": 30},
}

_images = partial(ImageTask, kind="classification", rules=("official",), batch_size=128, tuned=TUNED)
_mnist = partial(_images, groups=("images",), source="mnist", budgets=budgets(430), test_set_families=DIGITS)
NETS: dict[str, Callable[[int, int], nn.Module]] = {"lenet": LeNet, "alexnet": AlexNet, "conv3fc3": Conv3FC3}

TASKS.register(_mnist("mnist"))
TASKS.register(_mnist("mnist-lenet", net=LeNet, pad=True))
for _source, _group, _budgets, _families, _warning in (
    ("cifar10", "images", budgets(352), COLOURS, ""),  # 45,000 rows
    ("cifar100", "images", budgets(352), COLOURS, ""),
    ("cifar10-sample", "images-sample", budgets(36, times=3), (CIFAR_C,), SAMPLE_WARNING),  # 4,500 rows
):
    for _name, _net in NETS.items():
        _cifar = partial(_images, groups=(_group,), source=_source, budgets=_budgets, warning=_warning)
        _cifar = partial(_cifar, test_set_families=_families)
        TASKS.register(_cifar(f"{_source}-{_name}", net=_net))

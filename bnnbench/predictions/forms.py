"""The forms that predictions may have: which arrays, of which shapes, and the predictive that they are.

| form | kind of task | arrays |
|---|---|---|
| mixture of Gaussians | regression | `mean`, `scale` [S, N] or [N] |
| histograms | regression | `edges` [B + 1] or [N, B + 1], `probs` [S, N, B] or [N, B] |
| quantiles | regression | `quantiles` [Q, N], `levels` [Q]; also `mean` [N] |
| draws | regression | `samples` [S, N] |
| class probabilities | classification | `probs` [S, N, K] or [N, K] |
| their logarithms | classification | `log_probs` [S, N, K] or [N, K]; also `log_normaliser` [S, N] |

Beside a mixture of Gaussians and class probabilities may stand `chains`, the number of Markov chains whose draws the
components are, chain after chain: then their convergence is measured, too.

Nothing is mended: what is not normalised, out of order or not finite is refused, for it is more often an error in the
program that made it than a matter of rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bnnbench.errors import UserError
from bnnbench.model import (
    BinnedPredictive,
    CategoricalPredictive,
    GaussianPredictive,
    Predictive,
    QuantilePredictive,
    SamplePredictive,
)
from bnnbench.predictions.split import Wanted, described

MOST = 2**28  # numbers in all arrays of a split: 2 GiB in float64
TOLERANCE = 1e-4  # of the sum of probabilities: twenty times what float32 and 100 classes leave
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Form:
    """One form.

    Attributes:
        name: in words. kind: of the tasks whose predictions may have it.
        arrays: names of the arrays that make it. also: of those that may stand beside them.
        make: the predictive, of the arrays in the order of the split's rows.
    """

    name: str
    kind: str
    arrays: tuple[str, ...]
    also: tuple[str, ...]
    make: Callable[[Wanted, Arrays], Predictive]

    def __str__(self) -> str:
        text = " and ".join(self.arrays)
        return text + f" (and {', '.join(self.also)})" * bool(self.also)


@dataclass(frozen=True)
class Given:
    """What was given for a split: its form, the predictive with the rows in the order of the split, and the number of
    Markov chains whose draws the components are, where it is known."""

    form: Form
    predictive: Predictive
    chains: int | None


def given(wanted: Wanted, arrays: Arrays) -> Given:
    """What arrays whose rows are in any order say of a split.

    Raises:
        UserError: the arrays are of no form of the task's kind, or their content cannot be scored.
    """
    if "ids" not in arrays:
        raise wanted.refuse("there are no ids; store those of the test rows beside the predictions, as `ids` [N].")
    own = {name: _numbers(wanted, name, array) for name, array in arrays.items() if name != "ids"}
    form = _form(wanted, own)
    order = wanted.order(arrays["ids"])
    if (total := sum(array.size for array in own.values())) > MOST:
        raise wanted.refuse(f"the arrays hold {total:,} numbers, and at most {MOST:,} are taken; give fewer samples.")
    chains = own.pop("chains", None)
    predictive = form.make(wanted, {name: _ordered(wanted, name, array, order) for name, array in own.items()})
    return Given(form, predictive, None if chains is None else _chains(wanted, chains, len(predictive[0])))


def _form(wanted: Wanted, arrays: Arrays) -> Form:
    forms, names = [form for form in FORMS if form.kind == wanted.kind], set(arrays)
    for form in forms:
        if set(form.arrays) <= names <= {*form.arrays, *form.also}:
            return form
    choice = "; ".join(map(str, forms))
    has = f"it holds {', '.join(sorted(names))[:200]}" if names else "it holds nothing but ids"
    raise wanted.refuse(f"{has}, and a {wanted.kind} is given by one of these: {choice}.")


def _numbers(wanted: Wanted, name: str, array: np.ndarray) -> np.ndarray:
    """The array as float32 or float64, in the machine's order of bytes."""
    if array.dtype.kind not in "iuf":
        raise wanted.refuse(f"{name} holds {described(array)}; give numbers.")
    return array.astype(np.float32 if array.dtype.itemsize == 4 and array.dtype.kind == "f" else np.float64)


def _chains(wanted: Wanted, array: np.ndarray, components: int) -> int:
    if array.size != 1 or not (count := float(array.reshape(-1)[0])) >= 1 or components % count:
        raise wanted.refuse(
            f"chains must be one whole number that divides the {components} components, for these are the draws of all "
            "chains, one chain after the other."
        )
    return int(count)


AXES = {  # name of an array -> the axis of its rows, counted from the last
    **dict.fromkeys(("mean", "scale", "samples", "quantiles", "log_normaliser"), -1),
    **dict.fromkeys(("probs", "log_probs"), -2),
}
LETTERS = {  # and its shape in letters, in full
    **dict.fromkeys(("mean", "scale", "samples", "log_normaliser"), "[S, N]"),
    "quantiles": "[Q, N]",
    "probs": "[S, N, K]",
    "log_probs": "[S, N, K]",
}


def _ordered(wanted: Wanted, name: str, array: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The array with its rows in the order of the split, and with an axis of components where it has rows.

    Raises:
        UserError: it has another number of axes or rows.
    """
    if name == "levels" or (name == "edges" and array.ndim == 1):
        return array
    axis = AXES.get(name, -2)
    if array.ndim == -axis and name not in ("samples", "quantiles"):
        array = array[None]
    shape, letters = list(array.shape), LETTERS.get(name, "[N, B + 1]")
    if name == "edges":
        if array.ndim != 3:
            raise wanted.refuse(f"edges has the shape {shape}; give [B + 1] or [N, B + 1].")
    elif array.ndim != 1 - axis:
        raise wanted.refuse(f"{name} has the shape {shape}; give {letters}, of the N = {wanted.n} test rows.")
    if array.shape[axis] != wanted.n:
        turned = wanted.n in array.shape
        hint = "is it transposed?" if turned else f"give {letters}."
        raise wanted.refuse(f"{name} has the shape {shape}, which is not {letters} with N = {wanted.n} rows; {hint}")
    if not array.size:
        raise wanted.refuse(f"{name} has the shape {shape} and is empty; give at least one component.")
    return np.take(array, order, axis)


def _check(wanted: Wanted, name: str, array: np.ndarray, sound: np.ndarray, rule: str) -> None:
    """Raise if a value is not sound, naming the first."""
    if not sound.all():
        place = np.argwhere(~sound)[0]
        row = f" of the row {wanted.rows[place[1]]}" if array.ndim > 1 and array.shape[1] == wanted.n else ""
        raise wanted.refuse(f"{name} holds {array[tuple(place)]:.6g}{row}; {rule}.")


def _finite(wanted: Wanted, arrays: Arrays) -> None:
    for name, array in arrays.items():
        _check(wanted, name, array, np.isfinite(array), "give finite numbers")


def _same_shape(wanted: Wanted, one: str, other: str, arrays: Arrays) -> None:
    shapes = [list(arrays[name].shape) for name in (one, other)]
    if shapes[0] != shapes[1]:
        raise wanted.refuse(f"{one} has the shape {shapes[0]} and {other} {shapes[1]}; give both the same.")


def _tensor(array: np.ndarray) -> Tensor:
    return torch.as_tensor(np.ascontiguousarray(array))


def _gaussians(wanted: Wanted, arrays: Arrays) -> Predictive:
    _same_shape(wanted, "mean", "scale", arrays)
    _finite(wanted, arrays)
    rule = "a standard deviation is above 0, in the unit of the target"
    _check(wanted, "scale", arrays["scale"], arrays["scale"] > 0, rule)
    return GaussianPredictive(_tensor(arrays["mean"]), _tensor(arrays["scale"]))


def _draws(wanted: Wanted, arrays: Arrays) -> Predictive:
    _finite(wanted, arrays)
    if len(arrays["samples"]) < 2:
        raise wanted.refuse("samples holds one draw a row, which says nothing of the spread; give at least two.")
    return SamplePredictive(_tensor(arrays["samples"]))


def _quantiles(wanted: Wanted, arrays: Arrays) -> Predictive:
    values, levels, mean = arrays["quantiles"], arrays["levels"], arrays.get("mean")
    if levels.shape != (len(values),):
        shape = list(levels.shape)
        raise wanted.refuse(f"levels has the shape {shape} and quantiles {list(values.shape)}; give [Q] and [Q, N].")
    _finite(wanted, arrays)
    _check(wanted, "levels", levels, (levels > 0) & (levels < 1), "levels lie between 0 and 1, as 0.05 and 0.95 do")
    if (np.diff(levels) <= 0).any():
        raise wanted.refuse("levels do not ascend; sort them, and the quantiles with them.")
    if (crossed := np.argwhere(np.diff(values, axis=0) < 0)).size:
        raise wanted.refuse(
            f"the quantiles of the row {wanted.rows[crossed[0][1]]} cross, for they fall from the level "
            f"{levels[crossed[0][0]]:.6g} to the next; sort them along the levels, which makes no score worse."
        )
    if mean is not None and len(mean) > 1:
        raise wanted.refuse(f"mean has the shape {list(mean.shape)}; beside quantiles it is the predictive mean, [N].")
    return QuantilePredictive.of(_tensor(values), _tensor(levels), None if mean is None else _tensor(mean[0]))


def _bins(wanted: Wanted, arrays: Arrays) -> Predictive:
    edges, probs = arrays["edges"].astype(np.float64), arrays["probs"].astype(np.float64)
    _finite(wanted, arrays)
    if edges.shape[-1] != probs.shape[-1] + 1:
        raise wanted.refuse(
            f"there are {edges.shape[-1]} edges for {probs.shape[-1]} bins; give one edge more than bins."
        )
    if (np.diff(edges, axis=-1) <= 0).any():
        raise wanted.refuse("edges do not ascend; give those of neighbouring bins, from the lowest to the highest.")
    total = _normalised(wanted, "probs", probs)
    return BinnedPredictive.of(_tensor(edges), _tensor(probs / total))


def _classes(wanted: Wanted, arrays: Arrays) -> Predictive:
    probs = arrays["probs"]
    _finite(wanted, arrays)
    _count_classes(wanted, "probs", probs)
    _normalised(wanted, "probs", probs)
    with np.errstate(divide="ignore"):
        return CategoricalPredictive(_tensor(np.log(probs.astype(np.float64))))


def _log_classes(wanted: Wanted, arrays: Arrays) -> Predictive:
    log_probs, normaliser = arrays["log_probs"], arrays.get("log_normaliser")
    _check(wanted, "log_probs", log_probs, ~np.isnan(log_probs), "give logarithms of probabilities")
    _check(wanted, "log_probs", log_probs, log_probs <= TOLERANCE, "a logarithm of a probability is at most 0")
    _count_classes(wanted, "log_probs", log_probs)
    _normalised(wanted, "exp(log_probs)", np.exp(log_probs.astype(np.float64)))
    if normaliser is None:
        return CategoricalPredictive(_tensor(log_probs))
    _finite(wanted, {"log_normaliser": normaliser})
    if normaliser.shape != log_probs.shape[:2]:
        shapes = f"{list(normaliser.shape)}; give {list(log_probs.shape[:2])}"
        raise wanted.refuse(f"log_normaliser has the shape {shapes}, one for each component and row.")
    return CategoricalPredictive(_tensor(log_probs), _tensor(normaliser))


def _count_classes(wanted: Wanted, name: str, array: np.ndarray) -> None:
    if array.shape[-1] != len(wanted.classes):
        shown = ", ".join(map(str, wanted.classes[:12])) + ", ..." * (len(wanted.classes) > 12)
        raise wanted.refuse(
            f"{name} has {array.shape[-1]} classes, and the task {len(wanted.classes)}, in the order {shown}; give all."
        )


def _normalised(wanted: Wanted, name: str, probs: np.ndarray) -> np.ndarray:
    """The sums of probabilities over their last axis, which is kept."""
    _check(wanted, name, probs, probs >= 0, "a probability is not negative")
    total = probs.sum(-1, keepdims=True, dtype=np.float64)
    _check(wanted, f"the sum of {name}", total, np.abs(total - 1) <= TOLERANCE, "probabilities sum to 1")
    return total


FORMS = (
    Form("mixture of Gaussians", "regression", ("mean", "scale"), ("chains",), _gaussians),
    Form("quantiles", "regression", ("quantiles", "levels"), ("mean",), _quantiles),
    Form("draws", "regression", ("samples",), (), _draws),
    Form("histograms", "regression", ("edges", "probs"), (), _bins),
    Form("class probabilities", "classification", ("probs",), ("chains",), _classes),
    Form("log-probabilities of classes", "classification", ("log_probs",), ("log_normaliser", "chains"), _log_classes),
)
KINDS = tuple(dict.fromkeys(form.kind for form in FORMS))  # of tasks whose predictions can be scored


def refuse_kind(task: str, kind: str) -> None:
    """Raise if there are no forms for tasks of this kind."""
    if kind not in KINDS:
        raise UserError(f"The task {task!r} is of the kind {kind}; predictions are scored of {' and '.join(KINDS)}.")

"""What a metric is: one function of a predictive and the truth, with what a report must say about it.

    @metric("mae", kinds=("regression",), better=-1, unit="target", summary="mean absolute error of the mixture mean")
    def mae(c: Context) -> Value:
        return mean_value((c.targets - c.gaussian.mean.mean(0)).abs())

is a complete metric: `score` finds it and the tables show it. Unless it declares by `reads` what it looks at, it is for
mixtures of Gaussians or of class probabilities, and left out of predictions that are bins, quantiles or draws.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, singledispatch
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from bnnbench.errors import told
from bnnbench.metrics import abilities
from bnnbench.metrics.calibration import levels
from bnnbench.model.predictive import (
    CategoricalPredictive,
    DensityPredictive,
    GaussianPredictive,
    MixturePredictive,
    Predictive,
    each,
)
from bnnbench.model.regions import LEVEL, Interval, Region, most_probable
from bnnbench.model.truth import DensityTruth, NormalTruth, Truth, mapped
from bnnbench.records import MetricRecord, Score
from bnnbench.registry import Registry, warn

P = TypeVar("P", bound=Predictive)
LEVELS = tuple(k / 20 for k in range(1, 20))  # of quantiles: 0.05 ... 0.95, the ends of the 90 % interval among them


@dataclass(frozen=True)
class Value:
    """A metric's value with its standard error over test points, None where there is none."""

    value: float
    stderr: float | None = None


@dataclass(frozen=True)
class Context:
    """All that a metric may look at; `score` hands it over in float64.

    Attributes:
        predictive: the mixture on N points.
        y: observed targets or class indices [N], None where no labels fit (out-of-distribution inputs, grids).
        key: for metrics that draw, int32 tensor [2]; never needed by the others.
        truth: what is known of the true distribution at the points; metrics need `normal_truth` or `density_truth`.
        outside: the same posterior's predictive on out-of-distribution inputs.
        reference: predictive of the HMC reference at the same points, in the same units.
        chains: number of Markov chains whose draws the components are, chain after chain, each as long as the others.
        given: intervals or sets of classes to be scored in place of the predictive's own.
    """

    predictive: Predictive
    y: Tensor | None = None
    key: Tensor | None = None
    truth: Truth | None = None
    outside: Predictive | None = None
    reference: Predictive | None = None
    chains: int | None = None
    given: Region | None = None

    def __post_init__(self) -> None:
        # A target of shape [N, 1] would broadcast against [S, N] without a word, and score every pair of rows.
        for given in (self.y, *(self.truth or ())):
            if given is not None and given.shape != (self.n,):
                raise ValueError(f"targets and truth must have shape [{self.n}], got {list(given.shape)}")
        if self.reference is not None and self.reference[0].shape[1] != self.n:
            raise ValueError(f"the reference predicts {self.reference[0].shape[1]} points, not {self.n}")

    def undefined(self, fields: Sequence[str]) -> bool:
        """Whether one of these fields holds a NaN."""
        return any(self._nan(name) for name in fields)

    def _nan(self, name: str) -> bool:
        if name not in self._known:
            leaves = tree_leaves(getattr(self, name))
            self._known[name] = any(bool(leaf.isnan().any()) for leaf in leaves if isinstance(leaf, Tensor))
        return self._known[name]

    @cached_property
    def _known(self) -> dict[str, bool]:
        return {}  # a field of millions of numbers is looked through once for all metrics

    @property
    def n(self) -> int:
        """Number of points N."""
        return self.predictive[0].shape[1]

    @property
    def gaussian(self) -> GaussianPredictive:
        """The predictive of a regression task."""
        if not isinstance(self.predictive, GaussianPredictive):
            raise TypeError(f"a regression metric needs a GaussianPredictive, got {type(self.predictive).__name__}")
        return self.predictive

    @property
    def categorical(self) -> CategoricalPredictive:
        """The predictive of a classification task."""
        if not isinstance(self.predictive, CategoricalPredictive):
            raise TypeError(
                f"a classification metric needs a CategoricalPredictive, got {type(self.predictive).__name__}"
            )
        return self.predictive

    @cached_property
    def log_mixture(self) -> Tensor:
        """log (1/S) sum_s p_s of a classification, [N, K]; kept, since half of its metrics start from it."""
        return self.categorical.mixture_log_probs()

    @property
    def mixture(self) -> MixturePredictive | None:
        """The predictive, where it is a mixture of likelihood terms."""
        return abilities.mixture(self.predictive)

    @cached_property
    def log_prob(self) -> Tensor | None:
        """Log-density or log-probability at the targets, [N]."""
        return abilities.log_prob(self.predictive, self.targets)

    @cached_property
    def moments(self) -> tuple[Tensor, Tensor, Tensor] | None:
        """Predictive mean, epistemic and aleatoric variance, [N] each."""
        return abilities.moments(self.predictive)

    @cached_property
    def centre(self) -> Tensor | None:
        """The predictive mean, [N]."""
        return abilities.centre(self.predictive)

    @cached_property
    def crps(self) -> Tensor | None:
        """Continuous ranked probability score at the targets, [N]."""
        return abilities.crps(self.predictive, self.targets)

    @cached_property
    def quantiles(self) -> Tensor | None:
        """Quantiles of a regression at `LEVELS`, [19, N]."""
        return abilities.quantiles_at(self.predictive, LEVELS)

    @cached_property
    def reached(self) -> Tensor | None:
        """Whether F_n(y_n) is at most each of the levels 0.01 ... 0.99, bool [N, 99]."""
        return abilities.at_most(self.predictive, self.targets, levels(self.targets))

    @cached_property
    def central_95(self) -> Tensor | None:
        """Whether the targets lie in the central 95 % interval, bool [N]."""
        return abilities.central(self.predictive, self.targets, 0.95)

    @cached_property
    def region(self) -> Region | None:
        """The 90 % regions: those `given`; else a regression's intervals between the quantiles 0.05 and 0.95, or the
        fewest classes that hold 0.9 of the mixture's probability."""
        return self.given if self.given is not None else _region(self.predictive, self)

    @property
    def ends(self) -> Sequence[Tensor] | None:
        """The quantiles 0.05 and 0.95, [N] each."""
        if self.quantiles is not None:
            return self.quantiles[0], self.quantiles[-1]
        found = abilities.quantiles_at(self.predictive, (LEVELS[0], LEVELS[-1]))
        return None if found is None else tuple(found)

    @property
    def logits(self) -> Tensor | None:
        """Logits of a classification's components [S, N, K], for metrics that need them."""
        return getattr(self.predictive, "logits", None)

    @property
    def log_density(self) -> Tensor | None:
        """log q of the points [N], where the predictive is a density in closed form."""
        weights = self._weights
        return weights[0] if weights is not None and len(weights) == 1 else None

    @property
    def log_weights(self) -> Tensor | None:
        """Log-weights [S, N] of a density that has to be estimated."""
        weights = self._weights
        return weights if weights is not None and len(weights) > 1 else None

    @property
    def _weights(self) -> Tensor | None:
        return self.predictive.log_weights if isinstance(self.predictive, DensityPredictive) else None

    @property
    def normal_truth(self) -> NormalTruth | None:
        """The normal distribution that y really has, where a toy task knows it."""
        return self.truth if isinstance(self.truth, NormalTruth) else None

    @property
    def density_truth(self) -> DensityTruth | None:
        """The true density at the points, where a density task knows it."""
        return self.truth if isinstance(self.truth, DensityTruth) else None

    @property
    def grid(self) -> Tensor | None:
        """The area that each point of a grid stands for, [N]."""
        return self.density_truth.area if self.density_truth is not None and self.y is None else None

    @property
    def targets(self) -> Tensor:
        """y [N], for metrics that need it."""
        if self.y is None:
            raise ValueError('a metric that reads the targets must be declared with needs=("y",)')
        return self.y


@dataclass(frozen=True)
class Metric:
    """Definition of a metric.

    Attributes:
        name: unique; the name in the database and in tables.
        kinds: task kinds it scores (`regression`, `classification`), or `ood` for a pair of predictives.
        better: +1 higher, -1 lower, 0 neither (a description, not a score).
        unit: of the value; `target` is the unit of y, empty for pure numbers.
        summary: the definition in one line, shown by reports.
        citation: authors, year, arXiv or DOI; empty where it is common knowledge.
        needs: fields of Context that must be there for the metric to apply.
        reads: properties of Context that it makes of the predictive; it applies to predictives that have them.
        compute: the metric itself.
        headline: whether the main tables of reports show it.
    """

    name: str
    kinds: tuple[str, ...]
    better: int
    unit: str
    summary: str
    citation: str
    needs: tuple[str, ...]
    compute: Callable[[Context], Value]
    headline: bool = False
    reads: tuple[str, ...] = ("mixture",)

    def applies(self, kind: str, context: Context) -> bool:
        """Whether the metric scores this kind of task and finds what it needs and reads."""
        return kind in self.kinds and all(getattr(context, name) is not None for name in (*self.needs, *self.reads))

    def value(self, context: Context) -> Value:
        """The score; NaN where what it reads holds a NaN, of which a rank, a comparison or an argmax makes a number."""
        return Value(math.nan) if context.undefined(("predictive", *self.needs)) else self.compute(context)

    def record(self) -> MetricRecord:
        """The definition as the store keeps it."""
        return MetricRecord(self.name, self.better, self.unit, self.summary, self.kinds, self.headline)


KINDS = ("regression", "classification", "density", "variational", "ood")


def _fault(entry: Any) -> str:
    """Why something is no metric, nothing if it is one."""
    if not isinstance(entry, Metric):
        return "it is no bnnbench.metrics.Metric; the decorator `metric` makes one of a function"
    if not entry.kinds or set(entry.kinds) - set(KINDS):
        return f"its kinds are {', '.join(entry.kinds) or 'none'}, and there are {', '.join(KINDS)}"
    if unknown := sorted(name for name in entry.needs if not hasattr(Context, name) and name not in _FIELDS):
        return f"it needs {', '.join(unknown)}, and there are {', '.join(_FIELDS)}"
    if unknown := sorted(name for name in entry.reads if not hasattr(Context, name)):
        return f"it reads {', '.join(unknown)}, which no predictive has"
    return ""


_FIELDS = tuple(field.name for field in dataclasses.fields(Context))
METRICS: Registry[Metric] = Registry(
    "metric",
    "bnnbench.metrics",
    "bnnbench.metrics",
    lambda metric: metric.kinds,
    _fault,
    shared=KINDS,
)


def metric(
    name: str,
    kinds: tuple[str, ...],
    better: int,
    unit: str,
    summary: str,
    citation: str = "",
    needs: tuple[str, ...] = ("y",),
    headline: bool = False,
    reads: tuple[str, ...] = ("mixture",),
) -> Callable[[Callable[[Context], Value]], Metric]:
    """Decorator: register a function Context -> Value as a metric (attributes as in `Metric`)."""

    def register(compute: Callable[[Context], Value]) -> Metric:
        return METRICS.register(Metric(name, kinds, better, unit, summary, citation, needs, compute, headline, reads))

    return register


@singledispatch
def _region(predictive: Predictive, c: Context) -> Region | None:
    """The 90 % regions of a kind of predictive."""
    del predictive
    return None if c.ends is None else Interval(*c.ends)


@_region.register
def _(predictive: CategoricalPredictive, c: Context) -> Region:
    del predictive
    return most_probable(c.log_mixture.exp(), LEVEL)


def score(
    predictive: Predictive,
    y: Tensor | None,
    key: Tensor | None,
    kind: str,
    truth: Truth | None = None,
    outside: Predictive | None = None,
    *,
    reference: Predictive | None = None,
    chains: int | None = None,
    given: Region | None = None,
    only: Sequence[str] | None = None,
) -> list[Score]:
    """All metrics of a task kind that apply, or `only` these of them; in the registry's order, in float64."""
    if kind not in METRICS.groups():
        raise ValueError(f"no metric scores tasks of kind {kind!r}; there are {', '.join(METRICS.groups())}")
    context = Context(
        double(predictive),
        y if y is None or not y.is_floating_point() else y.double(),
        key,
        None if truth is None else mapped(Tensor.double, truth),
        None if outside is None else double(outside),
        None if reference is None else double(reference),
        chains,
        given,
    )
    chosen = METRICS if only is None else METRICS.select(only)
    with torch.no_grad():
        computed = [(m.name, _computed(m, context)) for m in chosen if m.applies(kind, context)]
    return [Score(name, value.value, value.stderr) for name, value in computed if value is not None]


def _computed(metric: Metric, context: Context) -> Value | None:
    """The value of a metric; None, with a warning, where one of another package fails: a cell is not lost for it."""
    try:
        value = metric.value(context)
        return Value(float(value.value), None if value.stderr is None else float(value.stderr))
    except Exception as error:
        if metric.compute.__module__.startswith("bnnbench."):
            raise
        warn(f"The metric {metric.name!r} is left out ({told(error)}); fix or uninstall it.")
        return None


def double(predictive: P) -> P:
    """The predictive in float64: means over thousands of points and far tails want the digits."""
    return each(Tensor.double, predictive)


def mean_value(values: Tensor) -> Value:
    """Mean of per-point values [N] with standard error sd / sqrt(N)."""
    return Value(values.mean().item(), mean_stderr(values))


def root_mean_value(squares: Tensor) -> Value:
    """sqrt(mean(v)) of per-point squares v [N]; by the delta method stderr = stderr(mean v) / (2 sqrt(mean v))."""
    root, spread = squares.mean().sqrt().item(), mean_stderr(squares)
    if spread is None or root == 0:  # all squares are then 0, and so is their spread
        return Value(root, spread)
    return Value(root, spread / (2 * root))


def mean_stderr(values: Tensor) -> float | None:
    """sd / sqrt(N) of a mean over values [N]; None for a single point and where infinities leave it undefined."""
    if len(values) < 2:
        return None
    stderr = values.std().item() / math.sqrt(len(values))
    return stderr if math.isfinite(stderr) else None

"""What trials of hyperparameters show: how the score grows with their number, what they chose, which fields matter.

With N trials of a split in the order of their validation scores v_1 <= ... <= v_N and their test scores t_i, the test
score to be expected of the trial that is best on the validation rows among n drawn without replacement is

    sum_i t_i C(i - 1, n - 1) / C(N, n),

after Dodge et al. (2019, arXiv 1909.03004), who draw with replacement and report the validation score. How much a
hyperparameter matters is the share of the variance of the trials' ranks that it explains, by functional ANOVA on a
random forest (Hutter et al. 2014).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bnnbench import names
from bnnbench.records import Purpose, Status
from bnnbench.reporting.paired import interval
from bnnbench.reporting.select import Selection
from bnnbench.reporting.separable import ranked
from bnnbench.reporting.statistics import Frame, size_ratio

METRIC = "log_likelihood"
GROUP = ["task", "method", "rule", "budget", "setup"]
TREES = 32  # of the forest


@dataclass(frozen=True)
class Trials:
    """The trials of a method on the K splits of a data set, N each.

    Attributes:
        setup: who drew them, and what was not tuned.
        validation, test: scores [K, N], NaN of what has none.
        flagged: [K, N], by the method's own diagnostics; such a trial is taken only where no other has a score.
        settings: [K][N], of each trial the hyperparameters that are not the same in all.
        gradients: of all trials on a split, on average. ratio: n_test / n_train.
    """

    task: str
    method: str
    rule: str
    budget: str
    setup: str
    validation: np.ndarray
    test: np.ndarray
    flagged: np.ndarray
    settings: Sequence[Sequence[Mapping[str, Any]]]
    gradients: float
    ratio: float

    @property
    def fields(self) -> list[str]:
        """Hyperparameters that were tried at several values."""
        return list(self.settings[0][0])

    @property
    def merit(self) -> np.ndarray:
        """[K, N]: the larger, the sooner a trial is chosen; -infinity of what has no score."""
        known = np.where(np.isnan(self.validation), -np.inf, self.validation)
        ranks = ranked(known) - np.where(self.flagged, known.shape[1], 0)
        return np.where(known == -np.inf, -np.inf, ranks)

    @property
    def chosen(self) -> list[tuple[int, int]]:
        """Split and number of the trial that is best on its validation rows, of the splits where one has a score."""
        return [(k, int(own.argmax())) for k, own in enumerate(self.merit) if np.isfinite(own).any()]

    def numbers(self) -> list[int]:
        """1, 2, 4 ... and all."""
        count = self.test.shape[1]
        return sorted({2**i for i in range(count.bit_length()) if 2**i <= count} | {count})

    def best_of(self, n: int) -> tuple[float, float, float]:
        """Mean over splits of the expected test score of the best of n, and its 95 % interval."""
        values = np.array([expected(m, t, n) for m, t in zip(self.merit, self.test, strict=True)])
        return float(values.mean()), *interval(values, self.ratio)


def expected(merit: np.ndarray, test: np.ndarray, n: int) -> float:
    """Of n trials drawn without replacement, the test score to be expected of the one of most merit, of equal ones the
    first; -infinity where one that has no score may be all that was drawn."""
    order = np.lexsort((-np.arange(len(merit)), merit))
    weights = np.array([math.comb(i, n - 1) for i in range(len(order))]) / math.comb(len(order), n)
    drawn, scores = weights > 0, np.where(np.isnan(test), -np.inf, test)[order]
    return float((weights[drawn] * scores[drawn]).sum())


def trials_of(selection: Selection) -> list[Trials]:
    """All finished trials of methods and data sets that are shown, a method on a data set each."""
    return selection.once("trials", lambda: _trials_in(selection.trials or selection.store, selection.shown))


def _trials_in(store: Any, shown: Mapping[str, Sequence[str]]) -> list[Trials]:
    chosen: dict[str, Any] = {"purpose": Purpose.TUNE.value, **shown}
    attempts = store.attempts(**chosen)
    scores = store.scores(**chosen, evaluation=[names.VALIDATION, names.TEST], metric=METRIC)
    if attempts.empty:
        return []
    labels = attempts["config"].str.extract(r"^(?P<sampler>[^ ]+)-(?P<number>\d+)(?P<fixed>.*)$")
    attempts = attempts.assign(
        rule=attempts["split"].map(lambda split: names.parse_split(split)[0]),
        number=labels["number"].astype(int),
        setup=labels["sampler"] + labels["fixed"],
    )
    values = scores[scores["metric"] == METRIC].pivot_table(index="fingerprint", columns="evaluation", values="value")
    attempts = attempts.join(values.reindex(columns=[names.VALIDATION, names.TEST]), on="fingerprint")
    sizes = scores.assign(rule=scores["split"].map(lambda split: names.parse_split(split)[0]))
    found = (
        _trials(place, own, sizes[sizes["task"] == place[0]]) for place, own in attempts.groupby(GROUP, sort=False)
    )
    return [each for each in found if each is not None]


def _trials(place: tuple[str, ...], own: Frame, scores: Frame) -> Trials | None:
    """Those that all splits have; None where that is fewer than two."""
    splits = own["split"].nunique()
    own = own[own.groupby("number")["split"].transform("nunique") == splits].sort_values(["split", "number"])
    count = own["number"].nunique()
    if count < 2:
        return None
    columns = [names.VALIDATION, names.TEST, "gradients"]
    validation, test, gradients = (own[name].to_numpy(dtype=float).reshape(-1, count) for name in columns)
    flagged = (own["status"] == Status.UNCONVERGED.value).to_numpy().reshape(-1, count)
    settings = [json.loads(text) for text in own["configuration"]]
    fields = [name for name in settings[0] if len({str(each[name]) for each in settings}) > 1]
    varied = [{name: each[name] for name in fields} for each in settings]
    by_split = [varied[start : start + count] for start in range(0, len(varied), count)]
    task, method, rule, budget, setup = map(str, place)
    ratio, spent = size_ratio(scores, rule), float(gradients.sum(1).mean())
    return Trials(task, method, rule, budget, setup, validation, test, flagged, by_split, spent, ratio)


def importance(trials: Trials) -> dict[str, float]:
    """Share of the variance of the trials' ranks within their splits that each hyperparameter explains; nothing of
    fewer than four trials a split."""
    if trials.test.shape[1] < 4 or not trials.fields:
        return {}
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    ranks = ranked(trials.merit)
    tried = [values for own in trials.settings for values in own]
    spaces = {name: _range([values[name] for values in tried]) for name in trials.fields}
    study = optuna.create_study(direction="maximize")
    study.add_trials(
        [
            optuna.create_trial(params=dict(values), distributions=spaces, value=float(rank))
            for values, rank in zip(tried, ranks.ravel(), strict=True)
        ]
    )
    evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=TREES, seed=0)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(found.get(name, 0.0)) for name in trials.fields}


def _range(values: list[Any]) -> Any:
    """The range that values were tried in, as Optuna has it."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if any(isinstance(value, str | bool) for value in values):
        return CategoricalDistribution(sorted(set(values)))
    if all(isinstance(value, int) for value in values):
        return IntDistribution(min(values), max(values))
    return FloatDistribution(min(values), max(values), log=min(values) > 0 and max(values) / min(values) > 10)

"""Pruning by signal-to-noise ratio, and the histogram of weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import BUDGET, make_cells, make_pack
from image_samples import PLAIN, image_pack
from torch.testing import assert_close
from torch.utils._pytree import tree_map

from bnnbench import random
from bnnbench.data.arrays import spread
from bnnbench.engine import size
from bnnbench.engine.step import PREDICT
from bnnbench.engine.train import train
from bnnbench.evaluation import evaluate as scoring
from bnnbench.evaluation.evaluate import evaluate, evaluate_only
from bnnbench.evaluation.evaluator import Evaluator, sets_of
from bnnbench.evaluation.figure_data import EDGE, WEIGHT_BINS, weight_histogram
from bnnbench.evaluation.pruning import FRACTIONS, masks, order
from bnnbench.evaluation.rounding import DIGITS
from bnnbench.methods import METHODS
from bnnbench.names import pruned

SHORT = replace(BUDGET, steps=20, validation_checks=2)
PRUNED = {f"pruned-{share}" for share in ("0.00", "0.10", "0.20", "0.40", "0.60", "0.80", "0.90", "0.99", "0.995")}
NAMES = ("0.10", "0.20", "0.40", "0.60", "0.80", "0.90", "0.99", "0.995")


def gaussian(sizes, seed=0):
    rng = torch.Generator().manual_seed(seed)
    mean = {name: torch.randn(size, generator=rng) for name, size in sizes.items()}
    return mean, {name: torch.rand(value.shape, generator=rng) + 0.1 for name, value in mean.items()}


@pytest.mark.parametrize("share", [0.1, 0.35, 0.5, 0.9, 0.995])
def test_as_many_weights_go_as_the_share_says_those_of_least_ratio(share):
    mean, sd = gaussian({"weight": (7, 5), "bias": (7,), "log_noise": ()})
    mask = keep(mean, sd, share)
    assert set(mask) == {"weight", "bias"}
    stays = torch.cat([mask["weight"].flatten(), mask["bias"]]).bool()
    assert (~stays).sum() == int(share * 42)
    ratio = torch.cat([(mean[name].abs() / sd[name]).flatten() for name in mask])
    assert ratio[~stays].max() < ratio[stays].min()


def test_the_order_is_that_of_the_ratio_not_of_the_mean():
    mask = keep({"a": torch.tensor([-3.0, 0.2, 1.0])}, {"a": torch.tensor([10.0, 0.1, 1.0])}, 0.4)
    assert mask["a"].tolist() == [0, 1, 1]


def test_ties_and_weights_without_spread():
    zero, one = torch.zeros(4), torch.ones(4)
    assert keep({"a": one}, {"a": one}, 0.5)["a"].sum() == 2
    assert keep({"a": torch.tensor([0.5, 1, 2, 3])}, {"a": zero}, 0.25)["a"].sum() == 3


def test_share_zero_keeps_all():
    mean, sd = gaussian({"weight": (3, 4), "log_noise": ()})
    assert keep(mean, sd, 0.0)["weight"].all()


def test_names():
    assert [pruned(share) for share in FRACTIONS] == [f"pruned-{name}" for name in NAMES]


def keep(mean, sd, share):
    """The masks of a single replica."""
    stacked = {name: rank[None] for name, rank in order(mean, sd).items()}
    return {name: mask[0] for name, mask in masks(stacked, share).items()}


def trained(method, task="homoscedastic"):
    return train(make_pack(make_cells(method, task, budget=SHORT)), False)


def evaluated(method, task="homoscedastic"):
    fit, history = trained(method, task)
    return evaluate(Evaluator(fit), history)


def only(evaluator, names):
    return evaluate_only(evaluator, names, sets_of(evaluator.pack, shifted=False))


@pytest.mark.parametrize("method", ["swag", "sgld", "bbp-gaussian"])
def test_a_pruned_predictive_is_that_of_the_weight_samples_without_some(method):
    """One hidden layer of ReLU by hand, on the second replica: standardisation, 0 in place of weights, and noise."""
    fit, history = trained(method)
    pack, share = fit.pack, 0.6
    assert pack.method.prunable
    posterior, key = tree_map(lambda leaf: leaf[1], (fit.posterior, pack.keys))
    rows = type(pack.problem.rows)(*(leaf[1] for leaf in pack.problem.rows))
    problem = pack.problem_of(pack.problem.table, rows, torch.tensor(20.0).double())
    weights = posterior.sample(random.fold_in(key, PREDICT), problem, posterior.size(SHORT.samples))
    mean, sd = posterior.moments()
    names = [name for name in weights if name != "log_noise"]
    ratio = np.concatenate([(mean[name].abs() / sd[name]).numpy().ravel() for name in names])
    least = np.sort(ratio)[int(share * len(ratio))]
    w0, b0, w1, b1 = (
        np.where((mean[name].abs() / sd[name]).numpy() < least, 0, weights[name].numpy())
        for name in ("layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias")
    )
    split, data = pack.splits[1], pack.data
    x, y = data.x[split.test], data.y[split.test]
    fit_x, fit_y = data.x[split.train], data.y[split.train]
    z = (x - fit_x.mean(0)) / fit_x.std(0)
    hidden = np.maximum(np.einsum("ni,shi->snh", z, w0) + b0[:, None], 0)
    out = fit_y.mean() + fit_y.std() * (np.einsum("snh,soh->sno", hidden, w1) + b1[:, None])[..., 0]
    noise = fit_y.std() * (1e-3 + np.exp(weights["log_noise"].numpy()))[:, None]
    logs = -0.5 * ((y - out) / noise) ** 2 - np.log(noise) - 0.5 * np.log(2 * np.pi)
    record = {e.name: e for e in evaluate(Evaluator(fit), history)[1].records}["pruned-0.60"]
    got = {score.metric: score.value for score in record.scores}
    assert got["rmse"] == pytest.approx(np.sqrt(np.mean((out.mean(0) - y) ** 2)), rel=1e-6)
    assert got["log_likelihood"] == pytest.approx(
        (np.logaddexp.reduce(logs, 0) - np.log(len(out))).mean(), rel=1e-6
    )  # fmt: skip


@pytest.mark.parametrize(
    ("task", "metrics"),
    [("heteroscedastic", {"log_likelihood", "rmse"}), ("classification", {"log_likelihood", "error"})],
)
def test_pruned_evaluations(task, metrics):
    for own in evaluated("bbp-gaussian", task):
        found = {e.name: e for e in own.records if e.name.startswith("pruned")}
        assert set(found) == {f"pruned-{name}" for name in NAMES}
        for evaluation in found.values():
            assert {score.metric for score in evaluation.scores} == metrics
            assert (evaluation.n, evaluation.curves) == (10, {})
        assert not any(name.startswith("pruned") for name in own.kept)


def test_a_large_network_is_pruned_on_a_part_of_the_images_and_scored_whole_on_them(monkeypatch):
    monkeypatch.setattr(scoring, "SWEEP_IMAGES", 25)
    fit, _ = train(image_pack("bbp-gaussian", task=PLAIN), False)
    assert "pruned-0.00" not in {e.name for e in only(Evaluator(fit), PRUNED)[0]}
    monkeypatch.setattr(size, "LARGE", 1000)
    records = {e.name: e for e in only(Evaluator(fit), PRUNED)[0]}
    assert set(records) == PRUNED
    assert {record.n for record in records.values()} == {25}
    (split,) = fit.pack.splits
    rows = split.test[spread(40, 25)]
    (predictive,) = Evaluator(fit).predictions([fit.pack.data.x[rows]])
    wrong = predictive.mixture_log_probs().argmax(1).numpy() != fit.pack.data.y[rows]
    found = {score.metric: score.value for score in records["pruned-0.00"].scores}
    assert found["error"] == pytest.approx(wrong.mean())


def test_methods_without_a_distribution_of_weights_are_not_pruned():
    assert not any(e.name.startswith("pruned") for e in evaluated("map")[0].records)
    assert {m.name for m in METHODS if m.prunable} >= {"bbp-gaussian", "swag", "sgld", "hmc", "sghmc"}
    assert not any(METHODS.get(name).prunable for name in ("constant", "map", "ensemble-deep", "mc-dropout", "gp"))


def test_only_the_evaluations_asked_for():
    fit, history = trained("bbp-gaussian")
    whole = {e.name: e for e in evaluate(Evaluator(fit), history)[2].records}
    some = only(Evaluator(fit), {"pruned-0.90", "train"})[2]
    assert [e.name for e in some] == ["train", "pruned-0.90"]
    assert all([s.value for s in e.scores] == [s.value for s in whole[e.name].scores] for e in some)


def test_the_histogram_of_weights_is_in_units_of_the_prior_and_loses_what_lies_outside():
    """Prior scales of this network: sqrt(2 / 3) for the first layer's weights, sqrt(2 / 8) for the second's."""
    fit, _ = trained("swag")
    first, second = (fit.draws[f"layers.{i}.weight"] for i in (0, 1))
    first[:], second[:] = (2 / 3) ** 0.5 * 1.05, (2 / 8) ** 0.5 * 9.0
    drawn = weight_histogram(fit, 0)
    width = np.diff(WEIGHT_BINS)
    np.testing.assert_allclose(drawn["lower"], WEIGHT_BINS[:-1], rtol=0, atol=EDGE / 2)
    np.testing.assert_allclose(drawn["upper"], WEIGHT_BINS[1:], rtol=0, atol=EDGE / 2)
    share = first[0, 0].numel() / (first[0, 0].numel() + second[0, 0].numel())
    assert (drawn["density"] * width).sum() == pytest.approx(share, rel=2.0**-DIGITS)
    inside = (drawn["lower"] <= 1.05) & (drawn["upper"] > 1.05)
    assert drawn["density"][inside] * width[inside] == pytest.approx(share, rel=2.0**-DIGITS)


def test_the_histogram_of_weights_stands_beside_the_first_split_alone():
    curves = [e.records[0].curves for e in evaluated("sgld")]
    assert ["weights" in c for c in curves] == [True, False, False]
    drawn = curves[0]["weights"]
    assert 0.9 < (drawn["density"] * np.diff(WEIGHT_BINS)).sum() <= 1 + 1e-9
    assert_close(torch.tensor(drawn["density"]), torch.tensor(weight_histogram(trained("sgld")[0], 0)["density"]))
    for name in ("constant", "mc-dropout"):
        assert weight_histogram(trained(name)[0], 0) is None


def test_the_histogram_of_an_ensemble_is_of_its_members():
    fit, _ = trained("ensemble-deep")
    found = weight_histogram(fit, 1)
    params, scales = fit.state.params, {"layers.0.weight": (2 / 3) ** 0.5, "layers.1.weight": (2 / 8) ** 0.5}
    everything = np.concatenate([(params[name][1] / scale).numpy().ravel() for name, scale in scales.items()])
    assert len(everything) == 5 * (3 * 8 + 8)
    counts, _ = np.histogram(everything, bins=WEIGHT_BINS)
    np.testing.assert_allclose(found["density"], counts / (len(everything) * np.diff(WEIGHT_BINS)))

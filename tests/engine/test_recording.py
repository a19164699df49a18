"""Recorded weights and activations against a plain forward pass."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import make_cells, make_pack
from image_samples import CONV, PADDED, image_cells, image_pack
from torch.testing import assert_close
from torch.utils._pytree import tree_map

from bnnbench import random
from bnnbench.engine import recording
from bnnbench.engine.predict import posterior_of
from bnnbench.engine.recording import layers_of, recorded
from bnnbench.engine.step import VALIDATE
from bnnbench.engine.train import train
from bnnbench.evaluation.rounding import DIGITS
from bnnbench.experiment.attempt import training_curves

LEVELS = {"q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95}
COLUMNS = ["weight_mean", "weight_std", "activation_mean", "activation_std", *(f"activation_{q}" for q in LEVELS)]


def fitted(method, seeds=(0,)):
    """A trained pack; how it went is `recording_of`'s."""
    return trained(method, seeds)[0]


@lru_cache
def trained(method, seeds=(0,)):
    return train(image_pack(method, seeds), False)


def recording_of(method, seeds=(0,)):
    return trained(method, seeds)[1].recording


def watched(fit):
    """The validation rows, [R, N, 1, 8, 8]."""
    x = fit.pack.problem.table.x[torch.as_tensor(fit.pack.splits[0].validation)]
    return x.expand(len(fit.pack.cells), *x.shape)


def one(fit, tree, r=0):
    return tree_map(lambda leaf: leaf[r], tree)


def by_hand(pack, weights, x, r=0):
    """Statistics from the network written out, in numpy."""
    rows = pack.problem.rows
    x = (x - rows.x_shift[r]) / rows.x_scale[r]
    first = F.conv2d(x, weights["0.weight"], weights["0.bias"])
    second = F.linear(first.tanh().flatten(1), weights["3.weight"], weights["3.bias"])
    third = F.linear(second.tanh(), weights["5.weight"], weights["5.bias"])
    found = {}
    for name, out in {"0": first, "3": second, "5": third}.items():
        both = np.concatenate([weights[f"{name}.weight"].numpy().ravel(), weights[f"{name}.bias"].numpy().ravel()])
        found |= {f"weight_mean/{name}": both.mean(), f"weight_std/{name}": both.std()}
        values = out.numpy().ravel()
        found |= {f"activation_mean/{name}": values.mean(), f"activation_std/{name}": values.std()}
        for q, level in LEVELS.items():
            found[f"activation_{q}/{name}"] = np.sort(values)[int(np.rint(level * (len(values) - 1)))]
    return found


def agree(found, want, r=0):
    assert set(found) == set(want) == {f"{column}/{layer}" for column in COLUMNS for layer in "035"}
    for name, value in want.items():
        assert found[name][r] == pytest.approx(value, rel=1e-9), name


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_map_against_a_plain_forward_pass(seeds):
    fit = fitted("map", seeds)
    x = watched(fit)
    found = recorded(fit.pack, fit.posterior, fit.pack.keys, x)
    for r in range(len(seeds)):
        agree(found, by_hand(fit.pack, one(fit, fit.state, r).params, x[r], r), r)


def test_quantiles_are_order_statistics():
    """Exactly so; a share q of the activations lies below them, to one."""
    fit = fitted("map")
    x = watched(fit)
    found = recorded(fit.pack, fit.posterior, fit.pack.keys, x)
    params, rows = one(fit, fit.state).params, fit.pack.problem.rows
    out = F.conv2d((x[0] - rows.x_shift[0]) / rows.x_scale[0], params["0.weight"], params["0.bias"]).ravel()
    for q, level in LEVELS.items():
        value = found[f"activation_{q}/0"][0]
        assert (out - value).abs().min() < 1e-12
        assert abs((out < value - 1e-12).sum().item() - level * (len(out) - 1)) <= 1


def test_bbp_shows_one_weight_sample():
    """The network under means + sds x noise: with another key, other numbers; never those of the means alone."""
    fit = fitted("bbp-gaussian")
    x = watched(fit)
    found = recorded(fit.pack, fit.posterior, fit.pack.keys, x)
    posterior = one(fit, fit.posterior)
    sample = posterior.sample(fit.pack.keys[0], fit.pack.problem, 1)
    agree(found, by_hand(fit.pack, {name: value[0] for name, value in sample.items()}, x[0]))
    mean, _ = posterior.moments()
    assert found["weight_mean/3"][0] != pytest.approx(mean["3.weight"].mean().item(), rel=1e-3)
    other = recorded(fit.pack, fit.posterior, random.fold_in(fit.pack.keys, 1), x)
    assert other["weight_mean/3"][0] != found["weight_mean/3"][0]


@pytest.mark.parametrize("method", ["map", "bbp-gaussian", "bbp-local", "bbp-flipout", "sgld", "swag", "laplace-diag"])
def test_recorded_at_every_validation_check_and_in_the_last_state(method):
    fit, history = trained(method)
    assert history.recording["step"].tolist() == history.curves["step"].tolist() == [3, 6, 9, 12]
    for name, values in history.recording.items():
        assert name == "step" or values.shape == (1, 4)
        assert np.isfinite(values).all()
    if method == "sgld":  # which keeps its last state; one weight sample is that state
        last = posterior_of(fit.pack, fit.state, None)
        found = recorded(fit.pack, last, random.fold_in(fit.pack.keys, VALIDATE), watched(fit))
        assert {name: values[0, -1] for name, values in history.recording.items() if name != "step"} == pytest.approx(
            {name: value[0] for name, value in found.items()}
        )
        assert history.recording["weight_std/3"][0, 0] != history.recording["weight_std/3"][0, 3]


@pytest.mark.parametrize("method", ["map", "bbp-gaussian", "bbp-local", "mc-dropout", "sgld", "swag"])
def test_replicas_are_recorded_as_alone(method):
    both = recording_of(method, (0, 1))
    for r in (0, 1):
        alone = recording_of(method, (r,))
        assert set(alone) == set(both)
        for name, values in alone.items():
            if name != "step":
                np.testing.assert_allclose(both[name][r], values[0], rtol=1e-6, atol=1e-9)


def test_dropout_is_left_out():
    """Recorded is the network without masks: no key changes it."""
    fit = fitted("mc-dropout")
    x = watched(fit)
    found = [recorded(fit.pack, fit.posterior, random.fold_in(fit.pack.keys, k), x) for k in range(2)]
    assert {k: v.tolist() for k, v in found[0].items()} == {k: v.tolist() for k, v in found[1].items()}
    agree(found[0], by_hand(fit.pack, one(fit, fit.state).params, x[0]))


@pytest.mark.parametrize("method", ["ensemble-deep", "ensemble-bootstrap"])
def test_of_ensembles_one_member_is_recorded(method):
    """The first: a weight sample of an ensemble is one of its networks."""
    fit, history = trained(method)
    x, members = watched(fit), getattr(fit.state, "fit", fit.state).params
    found = recorded(fit.pack, fit.posterior, fit.pack.keys, x)
    agree(found, by_hand(fit.pack, {name: value[0, 0] for name, value in members.items()}, x[0]))
    assert set(training_curves(history, 0)) == {"training", "recording", "kept"}


def test_of_multiplicative_flows_the_plain_layers_are_recorded():
    found = recording_of("mnf")
    assert {name.partition("/")[2] for name in found if name != "step"} == {"0", "3", "5"}


def test_tables_are_not_recorded():
    pack = make_pack(make_cells("map", "classification"))
    assert not pack.task.record_layers
    assert train(pack, False)[1].recording == {}


def test_what_is_stored():
    _, history = trained("map", (0, 1))
    for r in (0, 1):
        stored = training_curves(history, r)["recording"]
        assert stored["step"].tolist() == [3, 6, 9, 12]
        made = history.recording["weight_mean/0"][r]  # more digits than a picture shows are not stored
        np.testing.assert_allclose(stored["weight_mean/0"], made, rtol=2.0**-DIGITS)


def test_many_rows_and_many_activations_are_thinned(monkeypatch):
    fit = fitted("map")
    x = watched(fit)
    monkeypatch.setattr(recording, "ROWS", 5)
    few = recorded(fit.pack, fit.posterior, fit.pack.keys, x)
    agree(few, by_hand(fit.pack, one(fit, fit.state).params, x[0, :5]))
    monkeypatch.setattr(recording, "SORTED", 7)
    fewer = recorded(fit.pack, fit.posterior, fit.pack.keys, x)
    assert fewer["activation_q05/0"][0] >= few["activation_q05/0"][0]
    np.testing.assert_array_equal(fewer["activation_mean/0"], few["activation_mean/0"])


def test_layers_that_hold_parameters():
    assert list(layers_of(CONV.network("official", (1, 8, 8), 10))) == ["0", "3", "5"]
    lenet = list(layers_of(PADDED.network("official", (1, 32, 32), 10)))
    assert lenet == ["features.0", "features.3", "classifier.0", "classifier.2", "classifier.4"]


def test_recording_leaves_the_training_as_it_is():
    """No hook stays behind, and no number of the training depends on it."""
    fit = fitted("bbp-gaussian")
    silent = replace(CONV, record_layers=False)
    without, history = train(make_pack(image_cells("bbp-gaussian", task=silent), torch.float64), False)
    assert history.recording == {}
    assert_close(without.state, fit.state, rtol=0, atol=0)
    assert not any(layer._forward_hooks for layer in fit.pack.problem.network.modules())

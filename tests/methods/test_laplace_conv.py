"""Laplace approximations of convolutional networks against dense matrices made with `jacrev` and loops over locations.

The network: a convolution with stride and padding, one with dilation, pooling, a linear layer; 199 parameters.
"""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from helpers import make_problem
from torch import nn
from torch.func import jacrev, vmap
from torch.testing import assert_close

from bnnbench import random
from bnnbench.errors import UserError
from bnnbench.layers.taps import tap_names, tapped, with_taps
from bnnbench.methods.curvature import _gram
from bnnbench.methods.gaussians import from_matrices, to_matrices
from bnnbench.methods.laplace import LaplaceDiag, LaplaceFull, LaplaceKron, LaplaceLast
from bnnbench.methods.optimise import adam_init
from bnnbench.model.parameters import flatten, unflatten
from bnnbench.model import Categorical, GaussianPrior

ROWS, CLASSES = 30, 3
GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(ROWS, 2 * 9 * 8, generator=GENERATOR, dtype=torch.float64)
Y = torch.arange(ROWS) % CLASSES
WEIGHT = (torch.arange(ROWS) % 4).double()  # of the examples: 0 ... 3
KRON, DIAG, FULL, LAST = METHODS = [LaplaceKron(), LaplaceDiag(), LaplaceFull(), LaplaceLast()]
every_method = pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
CONVOLUTIONS = {"1": {"stride": (2, 1), "padding": (1, 2)}, "3": {"dilation": 2}}


def cnn():
    return nn.Sequential(
        nn.Unflatten(1, (2, 9, 8)), nn.Conv2d(2, 3, 3, **CONVOLUTIONS["1"]), nn.Tanh(),
        nn.Conv2d(3, 4, (2, 3), **CONVOLUTIONS["3"], bias=False), nn.ReLU(), nn.MaxPool2d((1, 2)), nn.Flatten(),
        nn.Linear(4 * 3 * 3, CLASSES),
    )  # fmt: skip


def problem_of(network, weight=WEIGHT, x=X):
    return make_problem(x, Y, Categorical(CLASSES), GaussianPrior(0.7), (), weight).with_network(network.double())


def fit_of(problem, seed=0):
    return adam_init({name: 1.5 * value for name, value in problem.init_params(random.key(seed)).items()})


# The oracle: a flat vector in the order of the parameters.


def network(w, x, moved=None):
    """Outputs; `moved` [out, height, width] or [out] by layer is added to the pre-activations."""
    moved = moved or {}
    h = F.conv2d(x.reshape(-1, 2, 9, 8), w["1.weight"], w["1.bias"], **CONVOLUTIONS["1"]) + moved.get("1", 0.0)
    h = F.conv2d(torch.tanh(h), w["3.weight"], **CONVOLUTIONS["3"]) + moved.get("3", 0.0)
    h = F.max_pool2d(torch.relu(h), (1, 2)).flatten(1)
    return h @ w["7.weight"].T + w["7.bias"] + moved.get("7", 0.0)


def inputs_of(w, x):
    """Of the layers: images, images, vectors."""
    x = x.reshape(-1, 2, 9, 8)
    second = torch.tanh(F.conv2d(x, w["1.weight"], w["1.bias"], **CONVOLUTIONS["1"]))
    last = F.max_pool2d(torch.relu(F.conv2d(second, w["3.weight"], **CONVOLUTIONS["3"])), (1, 2)).flatten(1)
    return {"1": x, "3": second, "7": last}


def fisher(out):
    p = torch.exp(out) / torch.exp(out).sum(1, keepdim=True)
    return torch.stack([torch.diag(q) - torch.outer(q, q) for q in p])


def jacobian(w, x):
    """[n, K, P]."""
    return jacrev(lambda vector: network(unflatten(vector, w), x))(flatten(w))


def ggn(w, weight=WEIGHT):
    """[P, P]."""
    J, fishers = jacobian(w, X), fisher(network(w, X))
    return torch.stack([weight[i] * J[i].T @ fishers[i] @ J[i] for i in range(ROWS)]).sum(0)


def positions(image, size, row, column, stride=(1, 1), padding=(0, 0), dilation=1):
    """Which numbers of a flat image [in, height, width] a location's output is made of, in order; -1 for padding."""
    channels, height, width = image.shape
    found = []
    for channel in range(channels):
        for i in range(size[0]):
            for j in range(size[1]):
                r, c = (row * stride[0] - padding[0] + i * dilation, column * stride[1] - padding[1] + j * dilation)
                inside = 0 <= r < height and 0 <= c < width
                found.append((channel * height + r) * width + c if inside else -1)
    return found


def kfc(w):
    """kron(G, A) of every layer by loops over examples and locations, in the parameters' order and not scaled."""
    fishers = fisher(network(w, X))
    total, index = torch.zeros(len(flatten(w)), len(flatten(w))).double(), unflatten(torch.arange(len(flatten(w))), w)
    for name, inputs in inputs_of(w, X).items():
        A = G = torch.zeros(()).double()
        weights, bias = w[f"{name}.weight"], f"{name}.bias"
        shape, cells = torch.Size([CLASSES]), [list(range(inputs[0].numel()))]
        if name in CONVOLUTIONS:
            settings = CONVOLUTIONS[name]
            shape = F.conv2d(inputs[0], weights, **settings).shape
            corners = [(row, column) for row in range(shape[1]) for column in range(shape[2])]
            cells = [positions(inputs[0], weights.shape[2:], *corner, **settings) for corner in corners]
        for i in range(ROWS):
            J = jacrev(lambda m, name=name, i=i: network(w, X[i : i + 1], {name: m})[0])(torch.zeros(shape).double())
            J = J.reshape(CLASSES, shape[0], -1)
            numbers = torch.cat([inputs[i].reshape(-1), torch.zeros(1).double()])
            for t, cell in enumerate(cells):
                a = torch.cat([numbers[cell], torch.ones(1 if bias in w else 0).double()])
                A = A + WEIGHT[i] * torch.outer(a, a)
                G = G + WEIGHT[i] * J[..., t].T @ fishers[i] @ J[..., t] / len(cells)
        columns = [index[f"{name}.weight"].flatten(1)] + ([index[bias][:, None]] if bias in w else [])
        place = torch.cat(columns, 1).reshape(-1)
        total[place[:, None], place] = torch.kron(G / WEIGHT.sum(), A)
    return total


def prior_sd(w):
    """0.7 sqrt(2 / fan-in), the fan-in of a convolution being in k k; 0.7 of a bias."""
    return flatten(
        {k: torch.full_like(v, 0.7 * (math.sqrt(2 / v[0].numel()) if v.dim() > 1 else 1.0)) for k, v in w.items()}
    )


def expected_covariance(method, w):
    """Zeros for coordinates without a distribution."""
    H = kfc(w) if method is KRON else ggn(w)
    H = torch.diag(H.diag()) if method is DIAG else H
    last = flatten({name: torch.full_like(value, name.startswith("7")) for name, value in w.items()}).bool()
    rows = last if method is LAST else torch.ones_like(last)
    covariance = torch.zeros_like(H)
    precision = H + torch.diag(prior_sd(w) ** -2)
    covariance[rows[:, None] & rows] = torch.linalg.inv(precision[rows][:, rows]).reshape(-1)
    return covariance


def covariance_of(method, state):
    """The exact covariance of the method's draws: what it makes of unit vectors in place of normals."""
    like, covariance = method._matrices(state), method.prepared(state, None).covariance

    def draw(z):
        change = from_matrices(covariance.colour(unflatten(z, like)), state.params)
        return flatten({name: method._sd(state, name) * value for name, value in change.items()})

    root = torch.stack([draw(z) for z in torch.eye(len(flatten(like))).double()], 1)
    return root @ root.T


# Posteriors.


@every_method
def test_covariance_is_the_dense_inverse(method):
    """full: J^T F J; diag: its diagonal; last: its block; kron: KFC's kron(G, A)."""
    problem = problem_of(cnn())
    state = method.finish(random.key(1), fit_of(problem), method.prepare(problem))
    expected = expected_covariance(method, state.params)
    found = covariance_of(method, state)
    assert_close(found, expected, rtol=1e-8, atol=1e-8 * expected.diag().max().item())
    assert_close(flatten(method.moments(state, None)[1]), expected.diag().sqrt(), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("method", [KRON, DIAG, FULL], ids=lambda m: m.name)
def test_chunks_of_rows_change_nothing(method, monkeypatch):
    """Convolutions take fewer rows at once; with a limit of one number, one row."""
    problem = problem_of(cnn())
    state = method.finish(random.key(1), fit_of(problem), problem)
    monkeypatch.setattr("bnnbench.methods.curvature.TAP_NUMBERS", 1)
    assert_close(method.finish(random.key(1), fit_of(problem), problem), state, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("width", [5, 8, 11])
@pytest.mark.parametrize("leading", [(), (3,)], ids=str)
def test_wide_sums_by_blocks(width, leading, monkeypatch):
    monkeypatch.setattr("bnnbench.methods.curvature.WIDE", 8)
    x = torch.randn(*leading, ROWS, width, generator=GENERATOR, dtype=torch.float64)
    expected = torch.einsum("kbi,kbj,b->ij", x.reshape(-1, ROWS, width), x.reshape(-1, ROWS, width), WEIGHT)
    assert_close(_gram(x, WEIGHT[:, None]), expected, rtol=1e-12, atol=1e-12)


@every_method
def test_a_kernel_as_large_as_the_image_is_a_linear_layer(method):
    """One location: the same network written with nn.Linear has the same posterior, exact in G (x) A's sense."""
    wide = nn.Sequential(
        nn.Unflatten(1, (2, 9, 8)), nn.Conv2d(2, 5, (9, 8)), nn.Flatten(), nn.Tanh(), nn.Linear(5, CLASSES)
    )
    flat = nn.Sequential(nn.Identity(), nn.Linear(144, 5), nn.Identity(), nn.Tanh(), nn.Linear(5, CLASSES))
    problems = [problem_of(wide), problem_of(flat)]
    params = fit_of(problems[0]).params
    both = [
        params,
        {name: value.reshape(problems[1].network.get_parameter(name).shape) for name, value in params.items()},
    ]
    states = [method.finish(random.key(1), adam_init(w), p) for w, p in zip(both, problems, strict=True)]
    assert_close(states[0].covariance, states[1].covariance, rtol=1e-9, atol=1e-12)
    means, sds = zip(*(method.moments(state, None) for state in states), strict=True)
    assert sds[0]["1.weight"].shape == (5, 2, 9, 8)
    assert_close(flatten(sds[0]), flatten(sds[1]), rtol=1e-9, atol=1e-12)
    assert_close(flatten(means[0]), flatten(means[1]), rtol=0, atol=0)


# Predictives.


@every_method
def test_linearised_terms_are_those_of_the_jacobian(method):
    problem = problem_of(cnn())
    state = method.finish(random.key(1), fit_of(problem), problem)
    draws = method.weights(random.key(2), state, None, problem, 4)
    change = vmap(flatten)(draws) - flatten(state.params)
    out = network(state.params, X) + torch.einsum("nkp,sp->snk", jacobian(state.params, X), change)
    found = method.predict(random.key(2), state, None, problem, X, 4).log_probs
    assert_close(found, out.log_softmax(2))
    given = [method.predict_given(draws, state, problem, part).log_probs for part in X.split(11)]
    assert_close(torch.cat(given, 1), found)


@every_method
def test_a_prepared_state_gives_the_same_numbers(method):
    problem = problem_of(cnn())
    state = method.finish(random.key(1), fit_of(problem), problem)
    ready = method.prepared(state, None)
    again = method.prepared(ready, None)
    for other in (ready, again):
        draws = method.weights(random.key(2), other, None, problem, 3)
        assert_close(draws, method.weights(random.key(2), state, None, problem, 3), rtol=0, atol=0)
        assert_close(method.moments(other, None), method.moments(state, None), rtol=0, atol=0)
    fit = fit_of(problem)
    assert method.prepared(fit, None) is fit


@every_method
def test_replicas_together_equal_each_alone(method):
    """Of weights of their own; one of three is NaN and stays NaN, alone."""
    problem = problem_of(cnn())
    params = [fit_of(problem, seed).params for seed in range(3)]
    params[2] = {name: value * torch.nan for name, value in params[2].items()}
    weights = torch.stack([WEIGHT, WEIGHT.flip(0), WEIGHT])

    def both(w, weight):
        part = replace(problem, rows=problem.rows._replace(weight=weight, total=weight.sum()))
        state = method.finish(random.key(1), adam_init(w), part)
        draws = method.weights(random.key(1), method.prepared(state, None), None, part, 2)
        return method.moments(state, None)[1], draws, method.predict_given(draws, state, part, X[:3]).log_probs

    stacked = {name: torch.stack([p[name] for p in params]) for name in params[0]}
    together = vmap(both, randomness="error")(stacked, weights)
    for r in (0, 1):
        alone = both(params[r], weights[r])
        for many, one in zip(together, alone, strict=True):
            many = {name: value[r] for name, value in many.items()} if isinstance(many, dict) else many[r]
            assert_close(many, one, rtol=1e-8, atol=1e-10)
    assert together[2][2].isnan().all()


# Taps.


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")  # by torch
@pytest.mark.parametrize("padding", ["same", "valid", 2, (0, 1)], ids=str)
@pytest.mark.parametrize("kernel", [2, 3, (4, 1)], ids=str)
def test_patches_make_the_convolution(padding, kernel):
    """W a_t at every location t, also where "same" pads two sides unequally."""
    layer = nn.Conv2d(2, 3, kernel, bias=False, padding=padding, dilation=(1, 2)).double()
    network = with_taps(layer)
    x, expected = X.reshape(-1, 2, 9, 8), layer(X.reshape(-1, 2, 9, 8))
    offset = torch.randn(ROWS, expected[0, 0].numel(), 3, generator=GENERATOR, dtype=torch.float64)
    with tapped({"": offset}) as inputs:
        moved = network(x)
    assert_close(moved, expected + offset.mT.reshape(expected.shape))
    assert_close(inputs[""] @ layer.weight.flatten(1).T, expected.flatten(2).mT)
    assert_close(network(x), expected, rtol=0, atol=0)


def test_matrices_there_and_back():
    params = problem_of(cnn()).init_params(random.key(0))
    names = tap_names(with_taps(cnn()))
    assert names == ["1", "3", "7"]
    assert_close(from_matrices(to_matrices(params, names), params), params, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"groups": 2}, "'0' has groups=2"), ({"padding": 1, "padding_mode": "circular"}, "circular")],
)
def test_other_convolutions(settings, words):
    problem = problem_of(nn.Sequential(nn.Conv2d(2, 2, 3, **settings), nn.Flatten(), nn.Linear(84, CLASSES)))
    with pytest.raises(UserError, match=words):
        LAST.prepare(problem)


def test_a_convolution_that_is_called_twice():
    layer = nn.Conv2d(2, 2, 1)
    shared = nn.Sequential(nn.Unflatten(1, (2, 9, 8)), layer, layer, nn.Flatten(), nn.Linear(144, CLASSES))
    problem = problem_of(shared)
    with pytest.raises(UserError, match="'1' is called more than once"):
        KRON.finish(random.key(0), fit_of(problem), problem)

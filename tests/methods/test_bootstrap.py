"""The bootstrap ensemble: exact sizes of its samples, their distribution, and that members see nothing else."""

import math
from dataclasses import replace

import pytest
import torch
from helpers import make_problem
from torch.func import vmap
from torch.testing import assert_close

from bnnbench import random
from bnnbench.errors import UserError
from bnnbench.methods import configure
from bnnbench.methods.ensemble import BootstrapEnsemble, resample, subsample
from bnnbench.methods.map import MAP
from bnnbench.model import Homoscedastic

X = torch.linspace(-1, 1, 20, dtype=torch.float64)[:, None]
Y = torch.sin(3 * X[:, 0])
DRAWS = 5000
every_draw = pytest.mark.parametrize("draw", [resample, subsample])


def counts_of(draw, rows, share, padding=0, draws=DRAWS, key=0):
    """[draws, rows + padding]: the table's rows 3, 5, 7 ..., padded by repetition of the first."""
    index = torch.cat([3 + 2 * torch.arange(rows), torch.full((padding,), 3)])
    keys = random.split(random.key(key), draws)
    return vmap(lambda k: draw(k, index, torch.tensor(rows), share), randomness="error")(keys)


@every_draw
@pytest.mark.parametrize(
    ("rows", "share", "size"), [(20, 0.8, 16), (7, 0.5, 3), (10, 1.0, 10), (1, 1.0, 1), (33, 0.25, 8)]
)
@pytest.mark.parametrize("padding", [0, 9])
def test_samples_have_their_size_and_no_padding(draw, rows, share, size, padding):
    counts = counts_of(draw, rows, share, padding, 200)
    assert counts.shape == (200, rows + padding)
    assert (counts.sum(1) == size).all()
    assert (counts[:, rows:] == 0).all()
    assert counts.min() >= 0
    assert draw is resample or counts.max() == 1


@every_draw
def test_the_length_of_the_padding_changes_nothing(draw):
    short, long = (counts_of(draw, 12, 0.75, padding, 50) for padding in (0, 30))
    assert_close(short, long[:, :12])


def test_subsamples_of_a_row_depend_on_its_place_in_the_table():
    """Not on its place in the split: rows in another order give the counts in that order."""
    index = 3 + 2 * torch.arange(12)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    count = torch.tensor(12)
    for i in range(20):
        assert_close(
            subsample(random.key(i), index, count, 0.5)[order], subsample(random.key(i), index[order], count, 0.5)
        )


@every_draw
def test_counts_have_their_distribution(draw):
    """Of 10 rows, 6 drawn: means 0.6, and the covariance of a multinomial or of draws without replacement. 6 sigma on
    10 means and 55 products, whose standard deviations are measured: once in 10^6."""
    counts = counts_of(draw, 10, 0.6).double()
    deviation = counts - 0.6
    n, m = 10, 6
    if draw is resample:
        diagonal, other = m / n * (1 - 1 / n), -m / n**2
    else:
        diagonal, other = m / n * (1 - m / n), -m / n * (1 - m / n) / (n - 1)
    expected = torch.full((n, n), other).double().fill_diagonal_(diagonal)
    assert (deviation.mean(0).abs() < 6 * math.sqrt(diagonal / DRAWS)).all()
    products = deviation[:, :, None] * deviation[:, None]
    assert ((products.mean(0) - expected).abs() < 6 * products.std(0) / math.sqrt(DRAWS)).all()


@pytest.mark.parametrize("replacement", [False, True])
def test_members_see_their_own_sample_and_nothing_else(replacement):
    """Targets moved far away, in the rows that a member lacks, change nothing of it, and something of the others."""
    method = BootstrapEnsemble(members=3, subset_fraction=0.5, replacement=replacement)

    def trained(y):
        problem = make_problem(X, y, Homoscedastic(), steps=20)
        state = method.init(random.key(0), problem)
        for t in range(20):
            now = replace(problem, t=torch.tensor(float(t), dtype=torch.float64))
            state, _ = method.update(random.fold_in(random.key(1), t), state, now)
        return state, problem

    state, problem = trained(Y)
    counts = state.counts
    assert counts.shape == (3, 20)
    assert (counts.sum(1) == 10).all()
    assert len({tuple(row) for row in counts.tolist()}) == 3
    for member in range(3):
        moved, _ = trained(torch.where(counts[member] == 0, Y + 100, Y))
        same = [
            all(torch.equal(value[i], moved.fit.params[name][i]) for name, value in state.fit.params.items())
            for i in range(3)
        ]
        assert same == [i == member for i in range(3)]
    # A member is a MAP network of the problem with these weights, prior and all.
    single = MAP(method.lr)
    own = problem.subset(counts[1])
    assert float(own.n) == 10
    k = random.split(random.key(0), 3)[1]
    fit = single.init(k, own)
    for t in range(20):
        now = replace(own, t=torch.tensor(float(t), dtype=torch.float64))
        fit, _ = single.update(random.split(random.fold_in(random.key(1), t), 3)[1], fit, now)
    assert_close(fit.params, {name: value[1] for name, value in state.fit.params.items()})
    # What is stored holds no counts, and predicts as before.
    stored = method.finish(random.key(2), state, problem)
    assert stored.counts.shape == (3, 0)
    mixture = method.posterior(stored, None, problem).predictive(random.key(3), problem, X, 99)
    assert mixture.mean.shape == (3, 20)
    assert_close(
        mixture, method.posterior(state, None, problem).predictive(random.key(3), problem, X, 99), rtol=0, atol=0
    )
    assert_close(mixture.mean[1], single.posterior(fit, None, problem).predictive(random.key(3), problem, X, 1).mean[0])


@pytest.mark.parametrize("fraction", ["0", "1.1", "nan", "-0.5"])
def test_subset_fraction_out_of_range(fraction):
    with pytest.raises(UserError, match=r"ensemble-bootstrap.subset_fraction must lie in \(0, 1\]"):
        configure(BootstrapEnsemble, {"subset_fraction": fraction})

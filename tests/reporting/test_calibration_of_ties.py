"""How often does the test behind the bold numbers err, and how often does it find what is there? By simulation.

Columns of 24 methods on ten folds, the best by mean chosen from the same data. A share p out of n columns has a
standard error of sqrt(p (1 - p) / n): 0.5 % of 5 % at 2,000 columns. The bounds are 5 % and three standard errors.
"""

import numpy as np
import pytest

from bnnbench.reporting.separable import ALPHA, inseparable

METHODS, FOLDS, RATIO = 24, 10, 1 / 9
RHO = RATIO / (1 + RATIO)
pytestmark = pytest.mark.slow


def correlated(rng, columns, scale=1.0):
    """Scores of equal methods [columns, METHODS, FOLDS], correlated over folds as Nadeau & Bengio assume."""
    own, noise = rng.normal(size=(columns, METHODS, 1)), rng.normal(size=(columns, METHODS, FOLDS))
    easy = rng.normal(size=(columns, 1, FOLDS))  # an easy fold is easy for all
    return scale * (np.sqrt(RHO) * own + np.sqrt(1 - RHO) * noise) + 2 * easy


def explosions(rng, shape, share):
    """What is added to a share of scores: ten to a million million standard deviations."""
    return np.where(rng.random(shape) < share, 10 ** rng.uniform(1, 12, shape), 0.0)


def normal(rng, columns):
    return correlated(rng, columns)


def exploding(rng, columns):
    scores = correlated(rng, columns)
    return scores + explosions(rng, scores.shape, 0.05)


def unequal(rng, columns):
    """Of equal mean and of different noise, by a factor of e in its standard deviation."""
    return correlated(rng, columns, np.exp(rng.normal(size=(columns, METHODS, 1))))


def groups(rng, columns):
    """Six equal methods, and eighteen far behind, some exploding: those must not cost the six their level."""
    scores = correlated(rng, columns)
    scores[:, 6:] += rng.uniform(2, 20, (columns, METHODS - 6, 1))
    scores[:, 12:] += explosions(rng, scores[:, 12:].shape, 0.5)
    return scores


def false_alarms(scores, equal=METHODS):
    """Share of columns in which one of the first `equal` rows is told from the best, which is one of them."""
    alarms = 0
    for column in scores:
        best = int(column.mean(1).argmin())
        alarms += best < equal and not inseparable(column, best, RATIO)[:equal].all()
    return alarms / len(scores)


def bound(columns):
    return ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / columns)


@pytest.mark.parametrize(("model", "equal"), [(normal, 24), (exploding, 24), (unequal, 24), (groups, 6)])
def test_false_alarms_of_equal_methods(model, equal):
    columns = 2000
    share = false_alarms(model(np.random.default_rng(0), columns), equal)
    print(f"{model.__name__}: {share:.3f}")
    assert share <= bound(columns)


def cross_validated(rng, columns, failing=0.0, n=150, width=4):
    """Ten real folds of 24 learners that are equal by symmetry: each sees its own block of exchangeable inputs.

    y = sum over all inputs + noise; least squares on `width` of them, root mean squared errors on the folds. A share of
    the fits fails and predicts a million times too much.
    """
    found = np.empty((columns, METHODS, FOLDS))
    for c in range(columns):
        x = rng.normal(size=(METHODS, n, width))
        y = x.sum((0, 2)) + rng.normal(size=n)
        for k in range(FOLDS):
            test = np.arange(n) % FOLDS == k
            fit, right = x[:, ~test], np.broadcast_to(y[~test], (METHODS, n - test.sum()))
            gram = np.einsum("mni,mnj->mij", fit, fit)
            weights = np.linalg.solve(gram, np.einsum("mni,mn->mi", fit, right)[..., None])[..., 0]
            weights *= np.where(rng.random((METHODS, 1)) < failing, 1e6, 1.0)
            error = np.einsum("mni,mi->mn", x[:, test], weights) - y[test]
            found[c, :, k] = np.sqrt((error**2).mean(1))
    return found


@pytest.mark.parametrize("failing", [0.0, 0.03])
def test_false_alarms_of_real_cross_validation(failing):
    columns = 1000
    scores = cross_validated(np.random.default_rng(1), columns, failing)
    share = false_alarms(scores)
    print(f"real cross-validation, {failing:.0%} of fits failing: {share:.3f}")
    assert share <= bound(columns)


def losing(rng, columns, behind, share):
    """One method behind the others by so many standard deviations of a fold, exploding on a share of its folds."""
    scores = correlated(rng, columns)
    scores[:, 0] += behind + explosions(rng, scores[:, 0].shape, share)
    return scores


@pytest.mark.parametrize(
    ("behind", "share", "least"), [(1, 0.0, 0.25), (2, 0.0, 0.65), (3, 0.0, 0.88), (1, 0.5, 0.5), (3, 0.5, 0.9)]
)
def test_power_for_a_method_that_lost_all_ten_folds(behind, share, least):
    found = []
    for column in losing(np.random.default_rng(2), 1000, behind, share):
        best = int(column.mean(1).argmin())
        if (column[0] > column[best]).all():
            found.append(not inseparable(column, best, RATIO)[0])
    print(f"{behind} sd behind, {share:.0%} exploded: lost all ten {len(found)}/1000, found {np.mean(found):.3f}")
    assert np.mean(found) >= least

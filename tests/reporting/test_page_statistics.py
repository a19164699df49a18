"""Statistics of the page against other people's code and against printed tables."""

import math
import warnings

import numpy as np
import pytest
from scipy import stats

from bnnbench.reporting.comparison import Comparison
from bnnbench.reporting.page.boards import covered, front, nemenyi
from bnnbench.reporting.page.differences import NATS, differences, pairs, signed_rank
from bnnbench.reporting.page.ranking import Ranking, ranking
from bnnbench.reporting.page.samples import Samples
from bnnbench.reporting.page.scopes import Column
from bnnbench.reporting.statistics import Entry, mean_over_splits

ROWS = ("a", "b", "c")


@pytest.fixture(scope="module")
def baycomp():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it imports to draw
        return pytest.importorskip("baycomp", reason="baycomp is not installed (extra `test`)")


def column(task: str, scores: dict[str, np.ndarray], better: int = 1, **flags: dict) -> tuple[Column, Samples]:
    """A data set of these scores over ten folds; flags: row -> other fields of its entry."""
    entries = {(r, task): Entry(*mean_over_splits(v), len(v), **flags.get(r, {})) for r, v in scores.items()}
    table = Comparison("m", "test", better, tuple(scores), (task,), entries, {task: 10}, {task: 1}, {task: 1 / 9})
    complete = {r: v for r, v in scores.items() if np.isfinite(v).all()}
    return Column(None, task, table), Samples(complete, 1 / 9, "splits")  # type: ignore[arg-type]


def made_up(seed: int = 0, rows: tuple[str, ...] = ROWS, shift: float = 0.02) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    shared = draw.normal(size=10)
    return {row: shared + 0.05 * draw.normal(size=10) + shift * place for place, row in enumerate(rows)}


@pytest.mark.parametrize("seed", range(5))
def test_one_data_set_as_the_correlated_t_test_of_baycomp(baycomp, seed):
    scores = made_up(seed)
    found = differences(ROWS, *_with_unit(column("t", scores), "nats"))
    for place, (i, j) in enumerate(zip(*pairs(3), strict=True)):
        first, second = scores[ROWS[i]], scores[ROWS[j]]
        left, same, right = baycomp.CorrelatedTTest.probs(second, first, rope=NATS)  # right: the latter is better
        assert found.better[place] == pytest.approx(right, abs=1e-6)
        assert found.same[place] == pytest.approx(same, abs=1e-6)
        assert 1 - found.better[place] - found.same[place] == pytest.approx(left, abs=1e-6)


def _with_unit(made: tuple[Column, Samples], unit: str):
    return made[0], unit, made[1]


def test_interval_holds_zero_as_often_as_it_says():
    """Of equal methods whose splits are correlated as Nadeau and Bengio have it; 5 %, within four standard errors."""
    draw, rho, misses, trials = np.random.default_rng(3), 0.1, 0, 2000
    for _ in range(trials):
        own = np.sqrt(rho) * draw.normal(size=(2, 1)) + np.sqrt(1 - rho) * draw.normal(size=(2, 10))
        found = differences(("a", "b"), *_with_unit(column("t", {"a": own[0], "b": own[1]}), ""))
        misses += bool(abs(found.mean[0]) > found.half[0])
    assert misses / trials == pytest.approx(0.05, abs=0.02)


def test_difference_is_positive_where_the_first_is_better():
    scores = {"a": np.full(10, 1.0) + np.arange(10) / 100, "b": np.full(10, 2.0)}
    low = differences(("a", "b"), *_with_unit(column("t", scores, better=-1), "m"))
    high = differences(("a", "b"), *_with_unit(column("t", scores, better=1), "m"))
    assert low.mean[0] == pytest.approx(0.955)
    assert high.mean[0] == pytest.approx(-0.955)
    assert low.better[0] > 0.99 > high.better[0]
    assert low.region[0] == pytest.approx(0.01 * (1.045 + 2) / 2)  # one percent of the mean of both


def test_equal_scores_are_practically_the_same():
    scores = {"a": np.ones(10), "b": np.ones(10)}
    found = differences(("a", "b"), *_with_unit(column("t", scores), "nats"))
    assert (found.mean[0], found.half[0], found.better[0], found.same[0]) == (0, 0, 0, 1)


def test_without_repeats_errors_are_those_of_the_entries():
    column_, _ = column("t", made_up())
    found = differences(ROWS, column_, "nats", Samples({}, 0.0, "points"))
    entries = [column_.table.entries[row, "t"] for row in ROWS]
    assert found.half[0] == pytest.approx(stats.norm.ppf(0.975) * math.hypot(entries[0].se, entries[1].se))


@pytest.mark.parametrize("gap", [-1.5, 0.0, 0.4, 3.0])
def test_many_data_sets_as_the_signed_rank_test_of_baycomp(baycomp, gap):
    """In units of half a region of practical equivalence; both are Monte Carlo, with 4,000 and 50,000 draws."""
    z = gap + 1.5 * np.random.default_rng(7).normal(size=9)
    better, same = signed_rank(np.stack([z, -z], axis=1))
    left, rope, right = baycomp.SignedRankTest.probs(np.zeros(9), z, rope=1.0)
    assert better[0] == pytest.approx(right, abs=0.03)
    assert same[0] == pytest.approx(rope, abs=0.03)
    assert better[1] == pytest.approx(left, abs=0.03)


def test_signed_rank_needs_both_methods_everywhere():
    better, same = signed_rank(np.array([[1.0, np.nan], [2.0, 0.0], [1.5, 0.0]]))
    assert better[0] > 0.8
    assert np.isnan([better[1], same[1]]).all()


def test_nemenyi_as_printed_by_demsar():
    """q of 0.05 in table 5 of Demšar (2006) is 2.343 for three methods, 2.728 for five, 3.164 for ten."""
    for m, q in ((3, 2.343), (5, 2.728), (10, 3.164)):
        assert nemenyi(m, 14) == pytest.approx(q * math.sqrt(m * (m + 1) / (6 * 14)), rel=5e-4)


def rank(tasks: list[dict[str, np.ndarray]], better: int = 1, rows=ROWS, **flags) -> Ranking | None:
    made = [column(f"t{i}", scores, better, **flags) for i, scores in enumerate(tasks)]
    return ranking(rows, [c for c, _ in made], [s for _, s in made])


def test_ranks_as_scipy():
    tasks = [made_up(i) for i in range(4)]
    found = rank(tasks, better=-1)
    assert found is not None
    expected = np.array([stats.rankdata([scores[row].mean() for row in ROWS]) for scores in tasks])
    np.testing.assert_array_equal(found.ranks, expected)
    np.testing.assert_allclose(found.mean, expected.mean(0))
    assert (found.low <= found.mean).all()
    assert (found.mean <= found.high).all()


def test_a_method_that_failed_somewhere_is_last_and_one_never_run_has_no_rank():
    tasks = [made_up(0), made_up(1)]
    del tasks[1]["c"]
    found = rank(tasks, better=-1, a={"complete": False})
    assert found is not None
    assert found.rows == ("a", "b")
    assert found.ranks.tolist() == [[2, 1], [2, 1]]
    assert found.absent == {"c": 1}
    assert "a" not in found.tied


def test_baselines_and_flagged_methods_cannot_be_the_first():
    tasks = [made_up(i, shift=5.0) for i in range(6)]  # c is far the best
    assert rank(tasks).tied == ("c",)  # type: ignore[union-attr]
    assert rank(tasks, c={"unconverged": True}).tied == ("b",)  # type: ignore[union-attr]


def test_equal_methods_are_all_tied():
    """The level of the test over data sets: in 100 selections of six equal methods, at most 15 with a false alarm."""
    alarms, names = 0, tuple("abcdef")
    for trial in range(100):
        tasks = [made_up(100 * trial + i, names, shift=0.0) for i in range(8)]
        alarms += len(rank(tasks, rows=names).tied) < len(names)  # type: ignore[union-attr]
    assert alarms <= 15


def test_normalised_score():
    tasks = [{"a": np.full(10, 1.0), "b": np.full(10, 3.0), "c": np.full(10, 4.0)}] * 2
    found = rank(tasks)
    assert found is not None
    np.testing.assert_allclose(found.normalised, [0, 0, 1])  # b is the median, a is worse
    four = {**tasks[0], "d": np.full(10, 3.5)}
    found = rank([four], rows=(*ROWS, "d"))
    assert found is not None
    np.testing.assert_allclose(found.normalised, [0, 0, 1, 1 / 3])  # (3.5 - 3.25) / (4 - 3.25)


def test_front_holds_what_nothing_beats_at_its_price():
    found = Ranking(("a", "b", "c", "d"), np.array([[4.0, 2.0, 3.0, 1.0]]), *[np.zeros(4)] * 3, (), (), {})
    assert front(found, {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}) == [0, 1, 3]
    assert front(found, {"a": 1.0, "b": 2.0, "c": 3.0, "d": 0.0}) == [0, 1]  # nothing was trained


def test_data_sets_of_few_methods_are_not_ranked_over():
    full, _ = column("t", made_up(rows=tuple("abcd")))
    thin, _ = column("u", {"a": np.ones(10)})
    assert [[c.task for c in part] for part in covered(tuple("abcd"), [full, thin])] == [["t"], ["u"]]

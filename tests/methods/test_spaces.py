"""Spaces of hyperparameters: ranges of fields that there are, around every default, all of which can be run."""

import dataclasses
import math

import pytest

from bnnbench.adapters.base import Adapter
from bnnbench.experiment.candidates import AT_ONCE, candidates, rounds
from bnnbench.methods import METHODS
from bnnbench.methods.space import Integer, LogUniform, OneOf, Uniform
from bnnbench.tasks import TASKS

MANY = 64


@pytest.mark.parametrize("name", METHODS.names())
def test_defaults_of_every_task_lie_in_the_space(name):
    cls = METHODS.get(name)
    kinds = {float: Uniform, int: Integer, str: OneOf}
    fields = {field.name: kinds[type(field.default)] for field in dataclasses.fields(cls) if field.name in cls.space()}
    assert set(fields) == set(cls.space())
    for field, domain in cls.space().items():
        assert isinstance(domain, fields[field])
        for task in TASKS:
            assert getattr(cls(**task.defaults(cls.name, cls.tags)), field) in domain, (field, task.name)


@pytest.mark.parametrize("name", METHODS.names())
def test_all_that_is_drawn_can_be_run_and_lies_in_the_space(name):
    cls = METHODS.get(name)
    if issubclass(cls, Adapter):
        for module in (cls.module, *cls.needs):
            pytest.importorskip(module)
    drawn = candidates(cls(), cls.space(), "qmc", [], MANY)  # which refuses what the method would
    assert drawn[0] == cls()
    assert len(drawn) == len(set(drawn)) == min(MANY, math.prod(map(size, cls.space().values())))
    for field, domain in cls.space().items():
        values = [getattr(each, field) for each in drawn]
        assert all(value in domain for value in values)
        assert len(set(values)) > (2 if isinstance(domain, Integer) else 1 if isinstance(domain, OneOf) else MANY // 2)


def size(domain):
    """How many values it has."""
    match domain:
        case Integer(low, high):
            return high - low + 1
        case OneOf(values):
            return len(values)
    return math.inf


def test_ranges_say_what_they_are():
    texts = [str(domain) for domain in (Uniform(0, 1), LogUniform(1e-4, 0.1), Integer(1, 4), OneOf(("a", "b")))]
    assert texts == ["0 to 1", "0.0001 to 0.1, by its logarithm", "1 to 4, whole", "a or b"]
    assert 0.05 in LogUniform(1e-4, 0.1)
    assert 5 not in Integer(1, 4)
    assert "c" not in OneOf(("a", "b"))


def test_a_sobol_sequence_goes_on_where_fewer_trials_ended():
    cls = METHODS.get("map")
    few, many = (candidates(cls(), cls.space(), "qmc", [], n) for n in (8, 16))
    assert many[:8] == few
    assert len(set(many)) == 16


def test_a_sobol_sequence_fills_every_quarter_of_a_logarithmic_range():
    import numpy as np

    cls = METHODS.get("map")
    rates = np.log10([each.lr for each in candidates(cls(), cls.space(), "qmc", [], 33)[1:]])
    counts, _ = np.histogram(rates, bins=np.linspace(-4, -1, 5))
    assert counts.tolist() == [8, 8, 8, 8]  # 32 points of a Sobol sequence: as many in each; at random 8 +- 2.4


def test_what_is_set_stays():
    cls = METHODS.get("map")
    space = {name: domain for name, domain in cls.space().items() if name != "prior_scale"}
    drawn = candidates(cls(prior_scale=3.0), space, "qmc", [], 8)
    assert {each.prior_scale for each in drawn} == {3.0}
    assert len({each.lr for each in drawn}) == 8


def test_estimators_of_densities_go_where_it_was_good():
    cls = METHODS.get("map")
    told = [(each, -abs(each.lr - 0.03)) for each in candidates(cls(), cls.space(), "qmc", [], 32)]
    asked = candidates(cls(), cls.space(), "tpe", told, 4)
    near = [each.lr for each in asked]
    assert sum(0.01 < rate < 0.09 for rate in near) >= 3  # a third of the range, by its logarithm
    assert candidates(cls(), cls.space(), "tpe", told, 4) == asked


def test_other_scores_lead_elsewhere():
    cls = METHODS.get("map")
    tried = candidates(cls(), cls.space(), "qmc", [], 16)
    asked = [
        candidates(cls(), cls.space(), "tpe", [(each, sign * each.lr) for each in tried], 1)[0].lr for sign in (1, -1)
    ]
    assert asked[0] > 0.01 > asked[1]


def test_trials_without_a_score_are_told_as_failed():
    cls = METHODS.get("map")
    told = [(each, None) for each in candidates(cls(), cls.space(), "qmc", [], 4)]
    assert len(candidates(cls(), cls.space(), "tpe", told, 4)) == 4


def test_rounds():
    assert rounds(16, "qmc") == [range(16)]
    assert rounds(10, "tpe") == [range(4), range(4, 8), range(8, 10)]
    assert set(AT_ONCE) == {"qmc", "tpe"}


def test_a_space_of_few_values_is_tried_once_each():
    cls = METHODS.get("gp")
    drawn = candidates(cls(), cls.space(), "qmc", [], 16)
    assert drawn[0] == cls()
    assert len(drawn) == len(set(drawn))
    assert {each.kernel for each in drawn} == set(cls.space()["kernel"].values)
    assert candidates(cls(), cls.space(), "tpe", [(each, 0.0) for each in drawn], 4) == []


def test_no_round_of_a_small_space_falls_short():
    cls, told = METHODS.get("sklearn-forest"), []
    for numbers in rounds(16, "tpe"):
        drawn = candidates(cls(), cls.space(), "tpe", told, len(numbers))
        told += [(each, -abs(each.leaf - 4.0)) for each in drawn]
    assert len({each for each, _ in told}) == 16

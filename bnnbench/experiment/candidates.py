"""Configurations to be tried, drawn by Optuna (Akiba et al. 2019, arXiv 1907.10902) from a method's space.

The first is always the method's own. `qmc` draws the others from a scrambled Sobol sequence, which fills the space more
evenly than random points do and does not depend on what was found: all trials can be trained at once, and more trials
later continue the sequence. `tpe` (tree-structured Parzen estimators) draws a few at a time, near what was good.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import singledispatch
from itertools import chain, islice, product
from typing import TYPE_CHECKING, Any

from bnnbench import random
from bnnbench.methods import Inference, valid
from bnnbench.methods.space import Domain, Integer, LogUniform, OneOf, Space, Uniform

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

DIGITS = 4  # of a real number that is tried
ASKED = 4  # draws at most for each configuration: of a small space many are equal
Told = Sequence[tuple[Inference, float | None]]  # configurations in the order of their trials, and how good each was
AT_ONCE = {"qmc": 0, "tpe": 4}  # sampler -> trials of a round, 0 for all


def rounds(trials: int, sampler: str) -> list[range]:
    """The numbers of the trials of each round."""
    size = AT_ONCE[sampler] or trials
    return [range(start, min(start + size, trials)) for start in range(0, trials, size)]


def candidates(method: Inference, space: Space, sampler: str, told: Told, number: int) -> list[Inference]:
    """So many configurations that differ, after those that were told; the first of all is the method's own.

    There are fewer where the space has no more, as one of two kernels.

    Args:
        method: the configuration of trial 0. space: of the fields that are tuned; none: there is only one trial.
        told: all of earlier rounds; scores are higher for better, None for what has none.
    """
    first = [] if told else [method]
    if not space:
        return first
    study = _study(method, space, sampler, told or [(method, 0.0)])
    asked = (study.ask(_distributions(space)).params for _ in range(ASKED * number))
    drawn = (_configured(method, space, values) for values in chain(asked, _all(space)))
    known = {method, *(configuration for configuration, _ in told)}
    fresh = (each for each in drawn if not (each in known or known.add(each)))
    return [*first, *islice(fresh, number - len(first))]


def _all(space: Space) -> Iterator[dict[str, Any]]:
    """Every configuration of a space of whole numbers and choices, none of another: draws may leave some out."""
    ranges = {Integer: lambda own: range(own.low, own.high + 1), OneOf: lambda own: own.values}
    values = [ranges[type(own)](own) for own in space.values() if type(own) in ranges]
    if len(values) == len(space):
        yield from (dict(zip(space, own, strict=True)) for own in product(*values))


def _study(method: Inference, space: Space, sampler: str, told: Told) -> optuna.Study:
    """What is known so far, and a sampler whose draws depend on that and on the method alone."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seed = random.seed_of(random.key_of("trials", method.name, len(told))) % 2**31
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        made = {
            "qmc": lambda: optuna.samplers.QMCSampler(scramble=True, seed=seed, warn_independent_sampling=False),
            "tpe": lambda: optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=AT_ONCE["tpe"], multivariate=True, constant_liar=True
            ),
        }[sampler]()
    study = optuna.create_study(direction="maximize", sampler=made)
    study.add_trials(frozen_trials(space, told))
    return study


def frozen_trials(space: Space, told: Told) -> list[optuna.trial.FrozenTrial]:
    """Trials as Optuna has them."""
    import optuna

    distributions, states = _distributions(space), optuna.trial.TrialState
    return [
        optuna.create_trial(
            state=states.FAIL if score is None else states.COMPLETE, value=score, distributions=distributions,
            params={name: getattr(configuration, name) for name in space},
        )
        for configuration, score in told
    ]  # fmt: skip


def _distributions(space: Space) -> dict[str, BaseDistribution]:
    return {name: distribution(domain) for name, domain in space.items()}


@singledispatch
def distribution(domain: Domain) -> BaseDistribution:
    """A range as Optuna has it."""
    raise NotImplementedError(domain)


@distribution.register(Uniform)
def _(domain: Uniform) -> BaseDistribution:
    from optuna.distributions import FloatDistribution

    return FloatDistribution(domain.low, domain.high, log=isinstance(domain, LogUniform))


@distribution.register(Integer)
def _(domain: Integer) -> BaseDistribution:
    from optuna.distributions import IntDistribution

    return IntDistribution(domain.low, domain.high)


@distribution.register(OneOf)
def _(domain: OneOf) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution

    return CategoricalDistribution(domain.values)


def _configured(method: Inference, space: Space, values: Mapping[str, Any]) -> Inference:
    """A method with these values, real ones with few digits."""
    short = {name: _short(value, space[name]) for name, value in values.items()}
    return valid(dataclasses.replace(method, **short))  # type: ignore[type-var]


def _short(value: Any, domain: Domain) -> Any:
    if not isinstance(domain, Uniform):
        return value
    return min(max(float(f"{value:.{DIGITS}g}"), domain.low), domain.high)

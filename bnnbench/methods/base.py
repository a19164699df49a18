"""The contract of an inference method, and the registry of methods.

A method is written for ONE network on ONE split. The engine runs many such cells at once by `torch.func.vmap`, so an
author keeps to these rules, each of which is enforced:

* draw only from the key you are given (`bnnbench.random`); `torch.randn` or `nn.Dropout` raise;
* `torch.where` instead of `if` on a tensor; no `.item()`, no boolean-mask indexing;
* state in, state out: its structure, shapes and dtypes never change, and nothing is kept on modules;
* `*_ex` linear algebra and NaN for failure, float64 inside factorisations; no BatchNorm.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from torch import Tensor

from bnnbench.errors import UserError, told
from bnnbench.methods.diagnose import diagnose_draws
from bnnbench.methods.space import Space
from bnnbench.model import Problem
from bnnbench.model.posteriors import Posterior
from bnnbench.registry import Registry, nearest

MOST = 100_000  # of whole-number hyperparameters (members, samples, widths): beyond it no machine ends a run
NOUNS = {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}  # types of hyperparameters
MOST_LAYERS = 1_000  # of flows, which are built one after the other
NAMED_ONLY = frozenset({"references", "adapters"})  # tags of methods that `all` leaves out
ROLES = {"baseline": "baseline", "references": "reference"}  # tag -> what a method is for the reader of a table
A = TypeVar("A", bound="Inference")
State = Any  # a pytree of tensors
Info = dict[str, Tensor]  # a few scalars worth plotting; `loss` is tested for finiteness every step


class Inference(ABC):
    """An inference algorithm with its hyperparameters, a frozen dataclass: what plan, engine, store and report ask of
    it, whichever of the two contracts it keeps, `Method` or `Estimator`.

    Float fields may differ between the cells of a pack (inside the engine they are tensors); int, str and bool fields
    are structure. What is an attribute here may be a field or a property of a method.

    Attributes:
        name: identity, with the version.
        version: raise it whenever numbers change.
        citation: authors, year, arXiv id.
        tags: groups on the command line, and what a reader of a table must weigh.
        supports: task kinds.
        vmappable: whether several cells can be one tensor program.
        num_networks: networks or chains trained per cell, each of which gets one gradient an update; 0 of methods whose
            cells share no update (`constant`).
        num_chains: Markov chains whose draws the predictive is made of, one after the other; 0 for other methods.
        steps_multiplier: updates made for each step of the budget; other numbers than 1 only for references.
        most_rows: on tasks of more rows only the first split is run; None for all. Only for references.
        early_stopping: whether the state best on the validation rows is kept (a field in methods that optimise). Of
            several networks each keeps its own: all tensors of the state then lead with a dimension of networks, and
            the predictive has equally many components of each, in their order.
        early_stopping_fraction: part of the steps that early stopping watches. After them the best state is taken;
            the updates that follow go on from it, and nothing is selected any more.
        family: what the posterior approximation comes to on a linear model with Gaussian noise and prior, which is
            what `bnnbench check` compares it with: `exact` (mean and covariance of the posterior), `mean-field` (its
            mean, and the inverse of the precision's diagonal), `point` (its mean); empty: nothing is claimed.
        prunable: whether a posterior is scored, too, after weights of small signal-to-noise ratio are set to 0; its
            kind then has `moments`.
        temperature: T of the distribution p(w | data)^(1/T) that draws are meant to have.
        step_field: name of the hyperparameter that makes steps smaller, for the advice of `diagnose`.
        takes_rounded_products: whether updates may multiply in less than float32 (`--precision`): not where they test
            energies or estimate a curvature.
        isolated: whether a cell is trained in a process of its own, which may crash.
        limit_s: seconds after which such a process is ended, where the run has no `--timeout`.
        implements: name of a method that is the same algorithm in another implementation, for reports.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    citation: ClassVar[str] = ""
    tags: ClassVar[tuple[str, ...]] = ()
    supports: ClassVar[tuple[str, ...]] = ("regression", "classification")
    vmappable: ClassVar[bool] = True
    num_networks: int = 1
    num_chains: int = 0
    steps_multiplier: int = 1
    most_rows: int | None = None
    early_stopping: bool = False
    early_stopping_fraction: float = 1.0
    family: ClassVar[str] = ""
    prunable: ClassVar[bool] = False
    temperature: float = 1.0
    step_field: ClassVar[str] = ""
    takes_rounded_products: ClassVar[bool] = False
    isolated: ClassVar[bool] = False
    limit_s: ClassVar[float] = math.inf
    implements: ClassVar[str] = ""

    @classmethod
    def space(cls) -> Space:
        """The hyperparameters that `bnnbench tune` chooses, each with its range; by default none.

        Ranges hold the defaults of every task. Fields of what costs more the larger it is are no part of it.
        """
        return {}

    def check(self) -> None:  # noqa: B027 - most methods have something to check, none must
        """Raise UserError when a hyperparameter is out of its range; called before tensors exist."""

    def prepare(self, problem: Problem) -> Problem:
        """The problem with the layers that this method trains. Called once, outside vmap.

        Raises:
            UserError: the method cannot be used on this network or prior.
        """
        return problem

    def target(self, problem: Problem) -> Problem:
        """The problem whose posterior is approximated: the task's, unless the method has a prior of its own. All other
        functions get this problem."""
        return problem

    def schedule(self, steps: int) -> Sequence[int]:
        """The steps after which `collect` is called; none for methods that keep their last or best state."""
        del steps
        return ()

    def diagnose(self, scores: Mapping[str, float]) -> str:
        """A sentence when a trained cell fails its own diagnostics (status `unconverged`), else nothing.

        By default, of draws that exploded or whose configurational temperature is far from `temperature`.

        Args:
            scores: of the evaluations `sampler` and `test`, by metric.
        """
        return diagnose_draws(scores, self.temperature, smaller_step(self))


class Method(Inference):
    """An inference algorithm as functions of the tensors of one network; the engine runs many cells at once."""

    @abstractmethod
    def init(self, key: Tensor, problem: Problem) -> State:
        """The state before the first update."""

    def update(self, key: Tensor, state: State, problem: Problem) -> tuple[State, Info]:
        """One step. Methods of a budget of one gradient a step spend exactly one minibatch gradient here."""
        raise NotImplementedError

    def finish(self, key: Tensor, state: State, problem: Problem) -> State:
        """What is computed once after training (curvature, covariance)."""
        del key, problem
        return state

    def collect(self, state: State) -> Any:
        """What to keep of a state as one posterior draw."""
        raise NotImplementedError

    @abstractmethod
    def posterior(self, state: State, draws: Any, problem: Problem) -> Posterior:
        """What the method has found, as an object of `bnnbench.model.posteriors`.

        Args:
            draws: collected draws, stacked along a leading dimension, or None while training.
        """


def role_of(method: type[Inference]) -> str:
    """What a method is to the reader of a table: `baseline`, `reference` (gold standard or exact) or `method`."""
    return next((role for tag, role in ROLES.items() if tag in method.tags), "method")


def smaller_step(method: Inference) -> str:
    """How to make a method's step smaller, in words."""
    if not method.step_field:
        return "make the step smaller or train longer"
    option = f"{method.name}.{method.step_field}"
    return f"lower {option}, as by --set {option}={getattr(method, method.step_field) / 3:.1g}"


def _fault(entry: Any) -> str:
    """Why something is no method, nothing if it is one."""
    if not (isinstance(entry, type) and issubclass(entry, Inference)):
        return "it is no subclass of bnnbench.methods.Method or Estimator"
    if not (isinstance(entry.version, int) and isinstance(entry.supports, tuple) and entry.supports):
        return "its version must be a whole number, and what it supports a tuple of kinds of tasks"
    try:
        entry()
    except Exception as error:
        return f"it cannot be made with its defaults ({told(error)})"
    if not dataclasses.is_dataclass(entry):
        return "it is no dataclass; put @dataclass(frozen=True) over its class"
    known = {field.name for field in dataclasses.fields(entry)}
    own = [name for name, kind in inspect.get_annotations(entry).items() if "ClassVar" not in str(kind)]
    lost = next((name for name in own if name not in known), "")
    return lost and f"{lost} is no hyperparameter yet; put @dataclass(frozen=True) over its class"


METHODS: Registry[type[Inference]] = Registry(
    "method",
    "bnnbench.methods,bnnbench.adapters",
    "bnnbench.methods",
    lambda method: method.tags,
    _fault,
    shared=("references", "other-target"),  # what a reader of a table must weigh
)


def positive(method: Inference, *names: str) -> None:
    """Raise unless these fields are positive and finite."""
    for name in names:
        value = getattr(method, name)
        if not (value > 0 and math.isfinite(value)):
            raise UserError(f"{method.name}.{name} must be positive and finite, not {value}.")


def fraction(method: Inference, *names: str) -> None:
    """Raise unless these fields lie in [0, 1)."""
    for name in names:
        value = getattr(method, name)
        if not 0 <= value < 1:
            raise UserError(f"{method.name}.{name} must lie in [0, 1), not {value}.")


def one_of(method: Inference, name: str, values: Sequence[str]) -> None:
    """Raise unless a field holds one of these values."""
    if (value := getattr(method, name)) not in values:
        raise UserError(f"{method.name}.{name} must be {' or '.join(values)}, not {value!r}.")


def at_most(method: Inference, limit: int, *names: str) -> None:
    """Raise unless these fields are at most so large."""
    for name in names:
        if (value := getattr(method, name)) > limit:
            raise UserError(f"{method.name}.{name} must be at most {limit:,}, not {value:.6g}.")


def evenly(first: int, stop: int, count: int) -> list[int]:
    """At most `count` steps in [first, stop), evenly spaced, the last one being stop - 1."""
    kept = min(count, stop - first)
    return [first + (i + 1) * (stop - first) // kept - 1 for i in range(kept)]


def configure(cls: type[Inference], settings: dict[str, str], tuned: Mapping[str, Any] | None = None) -> Inference:
    """A method with its defaults changed by `--set` strings, each parsed as the type of its field.

    Args:
        tuned: a task's own defaults, which settings override.

    Raises:
        UserError: no such field, a value of the wrong type, or one out of range.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    values = dict(tuned or {})
    for name, text in settings.items():
        if name not in fields:
            raise UserError(f"The method {cls.name!r} has no parameter {name!r}{nearest(name, fields)}")
        values[name] = _parse(f"{cls.name}.{name}", text, type(fields[name].default))
    return valid(cls(**values))


def valid(method: A) -> A:
    """The method, if its hyperparameters are of the types of their defaults and in their ranges.

    Raises:
        UserError: one is not.
    """
    fields = dataclasses.fields(method)  # type: ignore[arg-type]
    for field in fields:
        value, kind = getattr(method, field.name), type(field.default)
        if kind in NOUNS and type(value) is not kind and not (kind is float and type(value) is int):
            raise UserError(f"{method.name}.{field.name} must be {NOUNS[kind]}, not {value!r:.80}.")
    at_most(method, MOST, *(field.name for field in fields if type(field.default) is int))
    method.check()
    return method


def _parse(name: str, text: str, kind: type) -> Any:
    if kind is bool:
        if text.lower() not in {"true", "false"}:
            raise UserError(f"{name} must be {NOUNS[kind]}, not {text!r}.")
        return text.lower() == "true"
    try:
        return kind(text)
    except ValueError:
        raise UserError(f"{name} must be {NOUNS.get(kind, kind.__name__)}, not {text!r:.80}.") from None

"""The contract of a task, and the registry of tasks.

A task is data + split rule + network + likelihood + default prior. Everything a method may see of it is handed over as
a `Problem`; what is scored afterwards is its list of evaluations.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from bnnbench import names
from bnnbench.arguments import names_of
from bnnbench.data import cards
from bnnbench.data.arrays import Data, Split, spread
from bnnbench.data.files import data_root, present
from bnnbench.data.labels import of_kind
from bnnbench.data.loaders import load
from bnnbench.data.splits import SAME, splits
from bnnbench.errors import UserError, told
from bnnbench.model import (
    Categorical,
    GaussianPrior,
    Heteroscedastic,
    Homoscedastic,
    Likelihood,
    Prior,
    Problem,
    Rows,
    Table,
)
from bnnbench.model.density_problem import LogDensity
from bnnbench.model.likelihoods import SCALE_FLOOR
from bnnbench.model.truth import mapped
from bnnbench.nets import MLP
from bnnbench.registry import Registry, nearest
from bnnbench.tasks.budget import Budget, budget_of
from bnnbench.tasks.sets import TestSet, TestSetFamily

KINDS = ("regression", "classification", "density", "variational")
LONGEST = 60  # characters of a name: reports make names of files from it
NAME = re.compile(rf"[^\W_][\w.=+-]{{0,{LONGEST - 1}}}")
TRAIN_POINTS = 2000  # at most so many training rows are scored as `train`
# The prior over weights of a kind of task, where it is not the standard normal: a classifier of rows that can be told
# apart has to raise its outputs well above one, which that forbids. docs/tuning.md says how the scale was chosen.
PRIORS: Mapping[str, Prior] = {"classification": GaussianPrior(scale=4.0)}


@dataclass(frozen=True)
class Task:
    """A benchmark task.

    Attributes:
        name: registered name, also the name of its data card if it has no loader.
        kind: `regression`, `classification`, `density` (fitted to draws) or `variational` (to a log-density).
        groups: groups on the command line and in reports; the first is the report's section.
        rules: split rules it has; the first is the default.
        hidden: widths of the hidden layers.
        noise: `heteroscedastic` or `homoscedastic`, for regression. noise_floor: least standard deviation of it, in
            units of the standardised target.
        prior: the prior over weights, None for that of the kind (`PRIORS`).
        batch_size: rows of a minibatch.
        standardised: whether inputs are, by the training rows.
        loader: reads the data of a task that has no card, as `Data.of` makes them.
        source: name of its data card, where that is not the task's own.
        budgets: budgets of other numbers than those of the same names that all other tasks have.
        test_set_families: families of further test sets that it has, scored where a run asks for them.
        record_layers: whether statistics of weights and activations are recorded at validation checks.
        fixed_input_shape: whether the shape of its inputs is fixed in the compiled program; tables of other widths
            share one.
        tuned: method, or group of them, -> field -> default on this task, where that is not the method's own.
        citation: where the protocol comes from.
        warning: a sentence to stand over all tables of its group.
        version: raise it whenever numbers change; the data checksum is added to it.
    """

    name: str
    kind: str
    groups: tuple[str, ...]
    rules: tuple[str, ...]
    hidden: tuple[int, ...] = (100, 100)
    noise: str = "heteroscedastic"
    noise_floor: float = SCALE_FLOOR
    prior: Prior | None = None
    batch_size: int = 32
    standardised: bool = True
    loader: Callable[[], Data] | None = None
    source: str = ""
    budgets: tuple[Budget, ...] = ()
    test_set_families: tuple[TestSetFamily, ...] = ()
    record_layers: bool = False
    fixed_input_shape: bool = False
    tuned: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False, compare=False)
    citation: str = ""
    warning: str = ""
    version: int = 1

    def __post_init__(self) -> None:
        what = f"The task {self.name!r} cannot be made"
        if self.kind not in KINDS:
            raise UserError(f"{what}: its kind is {self.kind!r}{nearest(self.kind, KINDS)}")
        for names_ in (self.groups, self.rules):
            if not isinstance(names_, tuple) or not names_:
                raise UserError(f"{what}: its groups and its split rules must be tuples of names, not {names_!r}.")
        families = (("family of test sets", family.name) for family in self.test_set_families)
        for noun, name in (("name", self.name), *(("group", group) for group in self.groups), *families):
            if not NAME.fullmatch(name):
                raise UserError(
                    f"The {noun} {name!r} of a task makes no file name: give letters, digits and . _ = + -, beginning "
                    f"with a letter or digit, at most {LONGEST} in all."
                )

    def present(self, root: Path | None = None) -> bool:
        """Whether the data need no download."""
        return self.loader is not None or present(cards.card(self.source or self.name), data_root(root))

    def data(self, root: Path | None = None) -> Data:
        """The data set, loaded and checked once a process; the target is what the task's kind makes of it.

        Raises:
            UserError: the files are missing or corrupt, the loader raises, or its data are not of this kind.
        """
        return _load(self, root)

    def versioned(self, root: Path | None = None) -> str:
        """The version with the checksum of the data, which tells two results apart."""
        return f"{self.version}+{self.data(root).checksum}"

    def encoded(self, rule: str, index: int, root: Path | None = None) -> Data:
        """The data as the network of one split gets them: the same for all, but of tables that are encoded by what is
        found in the split's training rows."""
        del rule, index
        return self.data(root)

    def portable(self) -> dict[str, Any]:
        """What a process that does not know this task needs to predict with a posterior of it, as JSON takes it;
        nothing where it must know the task."""
        return {}

    def read(self, root: Path | None) -> Data:
        """The data set from its files, unless the process has it already."""
        return load(self.source or self.name, root) if self.loader is None else self.loader()

    @staticmethod
    def from_frame(
        frame: pd.DataFrame,
        target: str,
        *,
        kind: str | None = None,
        group: str | None = None,
        time: str | None = None,
        drop: str | Sequence[str] = (),
        category: str | Sequence[str] = (),
        number: str | Sequence[str] = (),
        name: str = "",
        **settings: Any,
    ) -> Task:
        """A task from a table with text and gaps; `bnnbench data add` does the same with a file.

        Columns of text become one column a value, missing values are filled in, by what is found in the training rows
        of each split; rows without a target are left out.

        Args:
            frame: inputs and target, a row each.
            target: name of the target.
            kind: `regression` or `classification`; None: by the values of the target.
            group: name of a column whose values keep rows together: the split rule `grouped` is the default then.
            time: name of a column of dates or numbers that orders the rows: the split rule `time` is the default then.
            drop: names of columns to be left out, a list or one string with commas.
            category, number: the same, of columns that are categories or numbers, whatever they look like.
            name: of the task; by default the target's.
            settings: further fields of the task, `hidden`, `noise`, `noise_floor` or `batch_size`.

        Raises:
            UserError: columns that can be no inputs, such as dates and identifiers, or no such column; the sentence
                names arguments by their options on the command line.

        Examples:
            >>> import pandas as pd
            >>> houses = pd.DataFrame({"area": range(40, 80), "district": ["north", "south"] * 20})
            >>> task = Task.from_frame(houses.assign(price=2.5 * houses.area + 7), target="price", name="my-houses")
            >>> task.kind, task.rules
            ('regression', ('10fold', '10fold-grouped'))
            >>> task.encoded("10fold", 0).features
            ('area', 'district north', 'district south')
        """
        from bnnbench.tasks.own import Wishes, from_frame  # which needs this module

        lists = (tuple(names_of(names_, option)) for names_, option in
                 ((drop, "--drop"), (category, "--category"), (number, "--number")))  # fmt: skip
        return from_frame(frame, Wishes(target, kind, group, time, *lists), name, **settings)

    def budget(self, name: str) -> Budget:
        """What this task grants under the name of a budget."""
        return next((budget for budget in self.budgets if budget.name == name), budget_of(name))

    def defaults(self, method: str, groups: Sequence[str] = ()) -> dict[str, Any]:
        """A method's defaults on this task, where they are not its own: by its groups, and before these by its name."""
        found: dict[str, Any] = {}
        for name in (*groups, method):
            found |= self.tuned.get(name, {})
        return found

    def splits(self, rule: str, root: Path | None = None) -> list[Split]:
        """All splits of a rule."""
        if rule not in self.rules:
            raise UserError(f"The task {self.name!r} has no split rule {rule!r}; it has {', '.join(self.rules)}.")
        return _splits(self, rule, root)

    def problem(self, rule: str, table: Table, rows: Rows, classes: int, steps: int) -> Problem:
        """What a method gets to see, for rows with or without a leading replica dimension."""
        likelihood, like = self.likelihood(rule, classes), rows.weight
        return Problem(
            network=self.network(rule, table.x.shape[1:], likelihood.outputs).to(like),
            likelihood=likelihood,
            prior=self.prior or PRIORS.get(self.kind, GaussianPrior()),
            table=table,
            rows=rows,
            batch_size=self.batch_size,
            steps=max(steps, 1),
            t=torch.zeros((), dtype=like.dtype, device=like.device),
        )

    def likelihood(self, rule: str, classes: int = 0) -> Likelihood:
        """What the network's outputs mean under a rule: the stored splits keep the protocol they come from."""
        if self.kind in ("density", "variational"):
            return LogDensity()
        if self.kind == "classification":
            return Categorical(classes)
        homoscedastic = rule == "gal" or self.noise == "homoscedastic"
        return (Homoscedastic if homoscedastic else Heteroscedastic)(self.noise_floor)

    def network(self, rule: str, shape: Sequence[int], outputs: int) -> nn.Module:
        """The plain network for examples of this shape; one hidden layer of 50 under the stored splits
        (Hernandez-Lobato & Adams 2015)."""
        return MLP(shape[0], (50,) if SAME.get(rule, rule) == "gal" else self.hidden, outputs)

    def shaped(self, x: np.ndarray) -> np.ndarray:
        """Inputs of another data set in the shape of this task's."""
        return x

    def test_sets(
        self, data: Data, split: Split, families: Sequence[str] = (), root: Path | None = None
    ) -> dict[str, TestSet]:
        """Name -> test set of one split. `train` is an evenly spaced subset of the training rows.

        Where the truth is known, `inside` and `outside` are the grid within and beyond the range of the training rows.

        Args:
            families: names of those of `test_set_families` that are wanted too, with `-all` at the end exhaustive.
            root: the data root.
        """
        train = split.train[spread(len(split.train), TRAIN_POINTS)]
        rows = {names.TEST: split.test, names.TRAIN: train, names.VALIDATION: split.validation}
        found = {name: TestSet(data.x[index], data.y[index]) for name, index in rows.items()}
        if data.grid is not None:
            found[names.GRID] = TestSet(data.grid, None, data.truth)
        if data.grid is not None and data.truth is not None:
            known = data.x[split.train]
            within = ((data.grid >= known.min(0)) & (data.grid <= known.max(0))).all(1)
            for name, where in ((names.INSIDE, within), (names.OUTSIDE, ~within)):
                truth = mapped(lambda values, where=where: values[where], data.truth)
                found[name] = TestSet(data.grid[where], None, truth)
        known = {family.name: family for family in self.test_set_families}
        for name in families:
            if (family := known.get(names.usual(name))) is not None:
                exhaustive = name.endswith(names.EXHAUSTIVE)
                found |= family.make(found[names.TEST], lambda other: self.shaped(load(other, root).x), exhaustive)
        return found


@lru_cache(maxsize=64)
def _load(task: Task, root: Path | None) -> Data:
    try:
        data = task.read(root)
        if not isinstance(data, Data):
            raise UserError(f"its loader returns a {type(data).__name__}; it is to return `Data.of(x, y)`.")
        return of_kind(data, task.kind)
    except UserError as error:
        if (task.source or task.name) in cards.names():  # of a card, which the sentence names
            raise
        raise UserError(f"The data of the task {task.name!r} cannot be loaded: {error}") from error
    except Exception as error:  # whatever a user's loader raises
        raise UserError(f"The data of the task {task.name!r} cannot be loaded ({told(error)}).") from error


@lru_cache(maxsize=256)
def _splits(task: Task, rule: str, root: Path | None) -> list[Split]:
    return splits(task.source or task.name, _load(task, root), rule)


def _fault(entry: Any) -> str:
    """Why something is no task, nothing if it is one."""
    if not isinstance(entry, Task):
        return "it is no bnnbench.tasks.Task"
    if type(entry) is Task and entry.loader is None and (entry.source or entry.name) not in cards.names():
        return "it has neither a loader nor a data card"
    try:
        hash(entry)
    except TypeError as error:
        return f"its fields must be tuples where they are lists ({error})"
    return ""


TASKS: Registry[Task] = Registry("task", "bnnbench.tasks", "bnnbench.tasks", lambda task: task.groups, _fault)

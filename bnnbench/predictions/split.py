"""The split that predictions are for: which rows they must name, and in which order these are scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bnnbench.errors import UserError

IDS = "ids"
MOST = 2**53  # of whole numbers that a float holds exactly
SHOWN = 60  # characters of a value in a sentence


@dataclass(frozen=True)
class Wanted:
    """What predictions of one split must be for.

    Attributes:
        what: how they are called at the beginning of a sentence: a file's name, or the split's.
        split: name of the split, `10fold-3`.
        kind: the task's kind, `regression` or `classification`.
        classes: labels of the classes, in the order of their indices.
        rows: ids of the split's test rows in the order in which they are scored, [N].
        others: name -> ids of rows that are no test rows of this split: `train`, `validation`, other splits.
    """

    what: str
    split: str
    kind: str
    classes: tuple[Any, ...]
    rows: np.ndarray
    others: Mapping[str, np.ndarray]

    @property
    def n(self) -> int:
        """Number of test rows N."""
        return len(self.rows)

    def refuse(self, fault: str) -> UserError:
        """The error that says what is wrong with these predictions."""
        return UserError(f"{self.what}: {fault}")

    def order(self, ids: np.ndarray) -> np.ndarray:
        """Where each test row stands among the ids, [N].

        Raises:
            UserError: other ids than those of the test rows, or one of them twice.
        """
        if ids.ndim != 1 or not len(ids):
            raise self.refuse(f"{IDS} has the shape {list(ids.shape)}; give the ids of the {self.n} test rows, [N].")
        ids = self._whole(ids)
        values, count = np.unique(ids, return_counts=True)
        if len(twice := values[count > 1]):
            raise self.refuse(f"the id {twice[0]} stands there {count[count > 1][0]} times; give every row once.")
        if len(unknown := np.setdiff1d(values, self.rows)):
            raise self.refuse(self._strange(unknown))
        if len(missing := np.setdiff1d(self.rows, values)):
            raise self.refuse(
                f"{len(missing)} of the {self.n} test rows have no prediction, the row {missing[0]} is the first; "
                "predict every row of test.npz."
            )
        place = np.argsort(ids, kind="stable")
        return place[np.searchsorted(ids[place], self.rows)]

    def _whole(self, ids: np.ndarray) -> np.ndarray:
        if ids.dtype.kind in "iu":
            return ids.astype(np.int64)
        if ids.dtype.kind == "f" and (np.abs(ids) < MOST).all() and (ids == np.round(ids)).all():  # no NaN either
            return ids.astype(np.int64)
        raise self.refuse(f"{IDS} holds {described(ids)}; give the whole numbers that `bnnbench splits` wrote.")

    def _strange(self, unknown: np.ndarray) -> str:
        """Why these ids are not of this split's test rows."""
        for name, rows in self.others.items():
            if np.isin(unknown, rows).all():
                return f"the id {unknown[0]} is no test row of {self.split}, but one of {name}; predict its test rows."
        return f"the id {unknown[0]} is no test row of {self.split}; take the ids that `bnnbench splits` wrote."


def described(array: np.ndarray) -> str:
    """What an array holds that is no number as it should be."""
    kinds = {"O": "objects", "U": "text", "S": "text", "b": "truth values", "c": "complex numbers", "V": "records"}
    kinds |= {"M": "dates", "m": "spans of time", "f": "numbers that are not whole"}
    return kinds.get(array.dtype.kind, f"values of the type {array.dtype}")

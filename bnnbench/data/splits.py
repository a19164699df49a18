"""Split rules: which rows train, validate and test. Splits depend on names and data, never on a seed.

Rules:
    10fold: one permutation keyed by the task's name, cut into 10 contiguous test sets whose sizes differ by at most 1.
    10fold-grouped: the same with rows of identical inputs kept in one fold, whatever their targets.
    gal: the 20 stored train and test index files of Gal & Ghahramani (2016).
    gal-heteroscedastic: the same splits, for networks that predict the noise of every input.
    gap: one split for each input with at least 10 distinct values; the rows are sorted by it (stable) and the middle
        third is the test set (Foong et al. 2019, arXiv 1906.11537).
    fixed: the only split of a toy task.
    official: the test set that an image data set came with; 5,000 of the other rows validate.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from bnnbench import random
from bnnbench.data.arrays import Data, Split
from bnnbench.data.cards import card, names
from bnnbench.errors import UserError

SAME = {"gal-heteroscedastic": "gal"}  # split rule -> the rule whose splits it has
FOLDS = 10
VALIDATION_ROWS = 5000  # at most
GAP_VALUES = 10  # distinct values an input needs for a gap in it to mean anything
LEAST = 2, 1, 1  # rows to train on (one has no spread), to validate and to test

ALONE = "add rows, or give one split by `fixed` in `Data.of` and the rule 'fixed'"

Part = tuple[np.ndarray, np.ndarray]  # rows to train on and to validate, rows to test


def count(name: str, rule: str) -> int:
    """Number of splits of a data set under a rule, from its card alone.

    Raises:
        UserError: the data set has no such rule.
    """
    known = card(name).splits
    if rule not in known:
        raise UserError(f"The task {name!r} has no {rule!r} splits; it has {', '.join(known)}.")
    return known[rule]


def splits(name: str, data: Data, rule: str) -> list[Split]:
    """All splits of a task under a rule.

    Args:
        name: the task's name, which keys the permutations.
        data: its data; a task without a card of its own has the rules that its data allow.
        rule: see above.

    Raises:
        UserError: the task has no such rule, or too few rows for it.
    """
    rule = SAME.get(rule, rule)
    if name in names():
        count(name, rule)
    elif rule not in _offered(data):
        raise UserError(f"The task {name!r} has no {rule!r} splits; it has {', '.join(_offered(data))}.")
    group = groups(data.x) if rule == "10fold-grouped" else np.arange(len(data.x))
    parts = {"10fold": _tenfold, "10fold-grouped": _tenfold_grouped, "gal": _gal, "gap": _gap}
    parts |= {"fixed": _fixed, "official": _fixed}
    result = []
    for index, (train, test) in enumerate(parts[rule](name, data)):
        held = _validation(random.key_of(name, rule, index, "validation"), group[train])
        rows = (~held).sum(), held.sum(), len(test)
        if any(have < least for have, least in zip(rows, LEAST, strict=True)):
            raise UserError(
                f"Split {index} of the {rule!r} splits of the task {name!r} has {rows[0]} rows to train on, {rows[1]} "
                f"to validate and {rows[2]} to test; there must be {LEAST[0]}, {LEAST[1]} and {LEAST[2]} at least."
            )
        result.append(Split(train=train[~held], validation=train[held], test=test))
    return result


def groups(x: np.ndarray) -> np.ndarray:
    """Group number of each row [N]; rows with identical inputs share one."""
    return np.unique(x, axis=0, return_inverse=True)[1].reshape(-1)


def _offered(data: Data) -> list[str]:
    if data.fixed is not None:
        return ["official" if data.x.ndim > 2 else "fixed"]
    return ["10fold", "10fold-grouped", *(["gal"] if data.stored else []), "gap"]


def _tenfold(name: str, data: Data) -> list[Part]:
    if len(data.x) < FOLDS:
        raise UserError(f"The task {name!r} has {len(data.x)} rows, too few for {FOLDS} folds; {ALONE}.")
    order = _permutation(random.key_of(name, "10fold"), len(data.x))
    return [_but(len(order), test) for test in np.array_split(order, FOLDS)]


def _tenfold_grouped(name: str, data: Data) -> list[Part]:
    group = groups(data.x)
    size = np.bincount(group)
    if len(size) < FOLDS:
        raise UserError(f"The task {name!r} has {len(size)} different inputs, too few for {FOLDS} folds; {ALONE}.")
    order = _permutation(random.key_of(name, "10fold-grouped"), len(size))
    fold, filled = np.empty(len(size), dtype=np.int64), np.zeros(FOLDS, dtype=np.int64)
    # The largest groups first, each to the emptiest fold: single rows then level the sizes.
    for g in order[np.argsort(-size[order], kind="stable")]:
        fold[g] = filled.argmin()
        filled[fold[g]] += size[g]
    return [_but(len(group), np.flatnonzero(fold[group] == k)) for k in range(FOLDS)]


def _gal(name: str, data: Data) -> list[Part]:
    return [_part(name, i, part, len(data.x)) for i, part in enumerate(data.stored)]


def _gap(name: str, data: Data) -> list[Part]:
    n, parts = len(data.x), []
    for column in data.x.T:
        if len(np.unique(column)) >= GAP_VALUES:
            order = np.argsort(column, kind="stable")
            parts.append(_but(n, order[n // 3 : 2 * n // 3]))
    if not parts:
        raise UserError(
            f"The task {name!r} has no 'gap' splits, for none of its inputs has {GAP_VALUES} different values."
        )
    return parts


def _fixed(name: str, data: Data) -> list[Part]:
    assert data.fixed is not None
    return [_part(name, 0, data.fixed, len(data.x))]


def _part(name: str, index: int, given: Part, n: int) -> Part:
    """A split that came with the data, whose rows may be given as masks [N].

    Raises:
        UserError: no row indices, a row that does not exist, or one that stands in the split twice.
    """
    arrays = [np.asarray(rows) for rows in given]
    train, test = (np.flatnonzero(a) if a.dtype == bool and a.shape == (n,) else a for a in arrays)
    both = np.concatenate([train.reshape(-1), test.reshape(-1)])
    what = f"Split {index} that came with the task {name!r}"
    if train.ndim != 1 or test.ndim != 1 or (len(both) and both.dtype.kind not in "iu"):
        raise UserError(f"{what} is not a pair of row indices or masks [{n}].")
    if (wrong := both[(both < 0) | (both >= n)]).size:
        raise UserError(f"{what} names the row {wrong[0]}, but there are the rows 0 to {n - 1}.")
    both = both.astype(np.int64)
    if (twice := np.flatnonzero(np.bincount(both, minlength=1) > 1)).size:
        raise UserError(f"{what} names the row {twice[0]} twice; rows to train and to test must differ.")
    return both[: len(train)], both[len(train) :]


def _validation(key: Tensor, group: np.ndarray) -> np.ndarray:
    """Mask [n] of the training rows that validate: n // 10, at least 20 and at most 5,000 or half; whole groups in
    random order."""
    n = len(group)
    wanted = min(max(n // 10, 20), n // 2, VALIDATION_ROWS)
    labels, member, size = np.unique(group, return_inverse=True, return_counts=True)
    chosen, total = np.zeros(len(labels), dtype=bool), 0
    for g in _permutation(key, len(labels)):
        if total + size[g] <= wanted:
            chosen[g] = True
            total += size[g]
        if total == wanted:
            break
    return chosen[member.reshape(-1)]


def _but(n: int, test: np.ndarray) -> Part:
    return np.setdiff1d(np.arange(n), test), test


def _permutation(key: Tensor, n: int) -> np.ndarray:
    return np.asarray(random.permutation(key, n), dtype=np.int64)

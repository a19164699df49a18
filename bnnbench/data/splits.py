"""Split rules: which rows train, validate and test. Splits depend on names and data, never on a seed.

Rules:
    10fold: one permutation keyed by the task's name, cut into 10 contiguous test sets whose sizes differ by at most 1.
    10fold-grouped: the same with rows of identical inputs kept in one fold, whatever their targets.
    grouped: the same with the rows of each of the data's groups kept in one fold, and either validated or trained on;
        as many folds as groups, where they are fewer than 10.
    time: the rows in order of time are cut into 6 blocks of equal size, rows of one time in one block; split k trains
        on the first k + 1 blocks and tests on the next one. The latest of the training rows validate.
    gal: the 20 stored train and test index files of Gal & Ghahramani (2016).
    gal-heteroscedastic: the same splits, for networks that predict the noise of every input.
    gap: one split for each input with at least 10 distinct values; the rows are sorted by it (stable) and the middle
        third is the test set (Foong et al. 2019, arXiv 1906.11537).
    fixed: the only split of a toy task.
    official: the test set that an image data set came with; 5,000 of the other rows validate.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from bnnbench import random
from bnnbench.data.arrays import Data, Split
from bnnbench.data.cards import card, names
from bnnbench.errors import UserError

SAME = {"gal-heteroscedastic": "gal"}  # split rule -> the rule whose splits it has
FOLDS = 10
ORIGINS = 5  # of the rule `time`
LEAST_GROUPS = 3  # to train on, to validate and to test
VALIDATION_ROWS = 5000  # at most
GAP_VALUES = 10  # distinct values an input needs for a gap in it to mean anything
LEAST = 2, 1, 1  # rows to train on (one has no spread), to validate and to test

ALONE = "add rows, or give one split by `fixed` in `Data.of` and the rule 'fixed'"

Part = tuple[np.ndarray, np.ndarray]  # rows to train on and to validate, rows to test
Validation = Callable[[Tensor, np.ndarray], np.ndarray]  # key, rows [n] of a part -> mask [n] of those that validate


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
    validation = VALIDATIONS.get(rule, _any_rows)(data)
    result = []
    for index, (train, test) in enumerate(PARTS[rule](name, data)):
        held = validation(random.key_of(name, rule, index, "validation"), train)
        rows = (~held).sum(), held.sum(), len(test)
        if any(have < least for have, least in zip(rows, LEAST, strict=True)):
            raise UserError(
                f"Split {index} of the {rule!r} splits of the task {name!r} has {rows[0]} rows to train on, {rows[1]} "
                f"to validate and {rows[2]} to test; there must be {LEAST[0]}, {LEAST[1]} and {LEAST[2]} at least."
            )
        result.append(Split(train=train[~held], validation=train[held], test=test))
    return result


def groups(x: np.ndarray) -> np.ndarray:
    """Group number of each row [N]; rows with identical inputs share one, gaps included."""
    return np.unique(np.where(np.isnan(x), np.inf, x), axis=0, return_inverse=True)[1].reshape(-1)


def _offered(data: Data) -> list[str]:
    if data.fixed is not None:
        return ["official" if data.x.ndim > 2 else "fixed"]
    own = {"gal": data.stored or None, "grouped": data.group, "time": data.time}
    return ["10fold", "10fold-grouped", *(rule for rule, needed in own.items() if needed is not None), "gap"]


def _tenfold(name: str, data: Data) -> list[Part]:
    if len(data.x) < FOLDS:
        raise UserError(f"The task {name!r} has {len(data.x)} rows, too few for {FOLDS} folds; {ALONE}.")
    order = _permutation(random.key_of(name, "10fold"), len(data.x))
    return [_but(len(order), test) for test in np.array_split(order, FOLDS)]


def _tenfold_grouped(name: str, data: Data) -> list[Part]:
    group = groups(data.x)
    if (count := group.max() + 1) < FOLDS:
        raise UserError(f"The task {name!r} has {count} different inputs, too few for {FOLDS} folds; {ALONE}.")
    return _folds_of_groups(random.key_of(name, "10fold-grouped"), group, FOLDS)


def _grouped(name: str, data: Data) -> list[Part]:
    assert data.group is not None
    if (count := int(data.group.max()) + 1) < LEAST_GROUPS:
        raise UserError(
            f"The task {name!r} has {count} group{'s' * (count > 1)} of rows, and to train on some, to validate on "
            f"others and to test takes {LEAST_GROUPS}; group by another column."
        )
    return _folds_of_groups(random.key_of(name, "grouped"), data.group, min(FOLDS, count))


def _folds_of_groups(key: Tensor, group: np.ndarray, folds: int) -> list[Part]:
    """Folds of whole groups, of sizes as equal as they allow."""
    size = np.bincount(group)
    order = _permutation(key, len(size))
    fold, filled = np.empty(len(size), dtype=np.int64), np.zeros(folds, dtype=np.int64)
    # The largest groups first, each to the emptiest fold: single rows then level the sizes.
    for g in order[np.argsort(-size[order], kind="stable")]:
        fold[g] = filled.argmin()
        filled[fold[g]] += size[g]
    return [_but(len(group), np.flatnonzero(fold[group] == k)) for k in range(folds)]


def _time(name: str, data: Data) -> list[Part]:
    assert data.time is not None
    order = np.argsort(data.time, kind="stable")
    time, blocks = data.time[order], ORIGINS + 1
    # A block begins with the first row of its time, so that no time stands on both sides of an origin.
    begins = np.searchsorted(time, time[np.arange(1, blocks) * len(time) // blocks])
    ends = [*begins[1:], len(time)]
    if not (np.diff([0, *begins, len(time)]) > 0).all():
        raise UserError(
            f"The task {name!r} has {len(np.unique(time))} different times for its {len(time)} rows, too few for "
            f"{blocks} blocks of them; order it by another column."
        )
    return [(order[:begin], order[begin:end]) for begin, end in zip(begins, ends, strict=True)]


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
    """Mask [n] of the training rows that validate: whole groups in random order."""
    wanted = _wanted(len(group))
    labels, member, size = np.unique(group, return_inverse=True, return_counts=True)
    chosen, total = np.zeros(len(labels), dtype=bool), 0
    for g in _permutation(key, len(labels)):
        if total + size[g] <= wanted:
            chosen[g] = True
            total += size[g]
        if total == wanted:
            break
    return chosen[member.reshape(-1)]


def _any_rows(data: Data) -> Validation:
    """Rows that validate are drawn one by one."""
    del data
    return _validation


def _of_equal_inputs(data: Data) -> Validation:
    """They are drawn with all that have equal inputs."""
    group = groups(data.x)
    return lambda key, train: _validation(key, group[train])


def _of_groups(data: Data) -> Validation:
    """They are drawn group by group: the smallest one, where all have more rows than are wanted."""
    group = data.group
    assert group is not None

    def held(key: Tensor, train: np.ndarray) -> np.ndarray:
        found, own = _validation(key, group[train]), group[train]
        labels, sizes = np.unique(own, return_counts=True)
        return found if found.any() else own == labels[sizes.argmin()]

    return held


def _latest(data: Data) -> Validation:
    """They are the latest, rows of one time together."""
    time = data.time
    assert time is not None

    def held(key: Tensor, train: np.ndarray) -> np.ndarray:
        del key
        own = np.sort(time[train])
        return time[train] >= own[len(own) - _wanted(len(own))]

    return held


def _wanted(n: int) -> int:
    """How many of n training rows validate: n // 10, at least 20 and at most 5,000 or half."""
    return min(max(n // 10, 20), n // 2, VALIDATION_ROWS)


def _but(n: int, test: np.ndarray) -> Part:
    return np.setdiff1d(np.arange(n), test), test


def _permutation(key: Tensor, n: int) -> np.ndarray:
    return np.asarray(random.permutation(key, n), dtype=np.int64)


PARTS: dict[str, Callable[[str, Data], list[Part]]] = {
    "10fold": _tenfold,
    "10fold-grouped": _tenfold_grouped,
    "grouped": _grouped,
    "time": _time,
    "gal": _gal,
    "gap": _gap,
    "fixed": _fixed,
    "official": _fixed,
}
VALIDATIONS: dict[str, Callable[[Data], Validation]] = {
    "10fold-grouped": _of_equal_inputs,
    "grouped": _of_groups,
    "time": _latest,
}

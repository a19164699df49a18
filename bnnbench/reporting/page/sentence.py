"""The answer in a sentence: which method ranks first, who cannot be told apart from it, what the cheapest one costs.

A sentence is a list of texts and of methods, the latter by their places in the scope's rows, so that each kind of page
may show a name in its own way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bnnbench.reporting.page.scopes import Scope
from bnnbench.reporting.tables.text import number, words

Sentence = list[str | int]
NAMED = 4  # of those that cannot be told apart from the first
UNRANKED = "No method of this selection was run on every data set, so none is ranked."


def sentence(scope: Scope, metric: str, board: Mapping[str, Any]) -> Sentence:
    """Of a leaderboard, as `boards` has it."""
    k, m = len(board["tasks"]), len(board["ranked"])
    where = f"On {board['tasks'][0] if k == 1 else f'{k} data sets'} ({scope}, budget {scope.budget}) "
    if not board["tied"]:
        return [where + f"no method may be called the best by {words(metric)}: each is a baseline, is flagged by its "
                "own diagnostics, or has failed cells."]  # fmt: skip
    first, *others = board["tied"]
    at = board["ranked"].index(first)
    low, high = board["low"][at], board["high"][at]
    interval = "" if low is None else f", 95 % interval {number(low, 1)} to {number(high, 1)}"
    rank = f" ranks first by {words(metric)} (mean rank {number(board['rank'][at], 1)} of {m}{interval})."
    return [where, first, rank, *(_tied(others) if m > 1 else []), *_cheapest(board["cheapest"])]


def _tied(others: Sequence[int]) -> Sentence:
    if not others:
        return [" All others can be told apart from it."]
    shown = [part for place in others[:NAMED] for part in (", ", place)][1:]
    rest = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
    count = "1 method" if len(others) == 1 else f"{len(others)} methods"
    return [f" {count} cannot be told apart from it: ", *shown, f"{rest}."]


def _cheapest(found: Mapping[str, Any] | None) -> Sentence:
    return [" ", found["row"], f", among them, costs {_percent(found['share'])} of its gradients."] if found else []


def _percent(share: float) -> str:
    return "< 1 %" if share < 0.005 else "> 99 %" if share > 0.995 else f"{100 * share:.0f} %"


def spoken(parts: Sentence, name: Callable[[int], str], text: Callable[[str], str] = str) -> str:
    """The sentence as one text, with names and the words between them as these functions write them."""
    return "".join(name(part) if isinstance(part, int) else text(part) for part in parts)

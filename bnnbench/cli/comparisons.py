"""A comparison of two methods as a table of the terminal, Markdown, CSV or JSON."""

from __future__ import annotations

import json
import math
from typing import Any

PLACES = ("split_rule", "budget")  # shown where they are not the same in all lines


def sides(found: Any) -> tuple[str, str]:
    """What a and b are: two methods, one in two databases or, of several methods, the databases."""
    first = found.iloc[0]
    several = found["a"].nunique() > 1
    return tuple(str(first[side]).partition(" in ")[2] if several else str(first[side]) for side in "ab")  # type: ignore[return-value]


def columns(found: Any) -> list[tuple[str, ...]]:
    """Header and rows as they are read: differences with their intervals, counts in one column."""
    several = found["a"].nunique() > 1
    more = [name for name in PLACES if found.loc[found[name] != "", name].nunique() > 1]
    header = ("method",) * several + ("metric", "task", *more, "a", "b", "difference", "95 % interval", "a is",
                                      "wins/ties/losses", "only a", "only b")  # fmt: skip
    rows = [header]
    for _, r in found.iterrows():
        interval = "" if math.isnan(r["low"]) else f"{_sign(r['low'])} to {_sign(r['high'])}"
        counts = f"{r['wins']}/{r['ties']}/{r['losses']}"
        numbers = (_plain(r["mean_a"]), _plain(r["mean_b"]), _sign(r["difference"]), interval, r["verdict"], counts)
        name = (r["a"].partition(" in ")[0],) * several
        rows.append((*name, r["metric"], r["task"], *(r[place] for place in more), *numbers, str(r["only_a"]),
                     str(r["only_b"])))  # fmt: skip
    return rows


def as_markdown(found: Any) -> str:
    """A table of Markdown."""
    header, *rows = columns(found)
    lines = [header, tuple("---" for _ in header), *rows]
    title = "a: {}, b: {}; positive differences: a is better.\n\n".format(*sides(found))
    return title + "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def as_csv(found: Any) -> str:
    """All columns, with all digits."""
    return found.to_csv(index=False, lineterminator="\n")


def as_json(found: Any) -> str:
    """All columns, one line a row; what is no number is null."""
    rows = ({name: _json(value) for name, value in row.items()} for row in found.to_dict("records"))
    return "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n"


def _plain(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4g}"


def _sign(value: float) -> str:
    return "" if math.isnan(value) else f"{value:+.3g}"


def _json(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value

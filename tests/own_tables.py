"""Small tables with text and gaps."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bnnbench.data.guessing import Described, Wishes, described


def houses(rows: int = 60, seed: int = 0) -> pd.DataFrame:
    """Numbers and text with gaps, a date, an agent that sells several houses, and a price that depends on them."""
    rng = np.random.default_rng(seed)
    area, district = rng.gamma(9, 10, rows).round(1), rng.choice(["centre", "north", "south"], rows)
    heating = pd.Series(rng.choice(["gas", "oil"], rows), dtype=object)
    price = (2.5 * area + 80 * (district == "centre") + rng.normal(0, 20, rows)).round(1)
    frame = pd.DataFrame({"area": area, "district": district, "heating": heating})
    frame.loc[rng.choice(rows, rows // 6, replace=False), "area"] = np.nan
    frame.loc[rng.choice(rows, rows // 4, replace=False), "heating"] = None
    sold = pd.date_range("2020-01-01", periods=rows).strftime("%Y-%m-%d")
    return frame.assign(agent=rng.integers(0, 12, rows), sold=sold, price=price)


def understood(frame: pd.DataFrame, target: str = "price", **wishes) -> Described:
    """A table as it is understood; names of several columns in one string with commas."""
    wishes |= {
        name: tuple(wishes[name].split(",")) for name in ("drop", "category") if isinstance(wishes.get(name), str)
    }
    return described("my-table", frame, Wishes(target, **wishes))


def becomes(table: Described) -> dict[str, str]:
    """Column -> what becomes of it."""
    return {line.column: line.becomes for line in table.lines}

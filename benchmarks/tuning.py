"""The grids of tables by which defaults were chosen, and whether the best value of each lies inside its grid.

    python benchmarks/tuning.py --db tune.db [--only swag,psgld]

Trains what the database lacks, each method on one data set at a time, at `quick`, and prints for every method the
validation log-likelihoods and the mean rank of its configurations, by the criterion of the report's tables
"hyperparameters on validation rows". A best value at an end of its grid is marked: the grid is then to be widened.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields
from itertools import product

import bnnbench
from bnnbench.methods import METHODS
from bnnbench.reporting.comparison import row_names
from bnnbench.reporting.tables.text import mean_and_error
from bnnbench.reporting.tables.tuning import Tuning, tuning

UCI, ROUGH = ("housing", "concrete", "energy", "wine", "yacht"), ("bandgap", "energy", "yacht", "naval")
SPLITS = (0, 1, 2)


@dataclass(frozen=True)
class Grid:
    """Values of one or more hyperparameters of a method, on these data sets; all their combinations."""

    method: str
    values: dict[str, tuple[float, ...]]
    tasks: tuple[str, ...] = UCI

    @property
    def settings(self) -> list[str]:
        """As `--set` takes them."""
        return [f"{self.method}.{name}=" + ",".join(map(str, values)) for name, values in self.values.items()]

    def ends(self, chosen: dict[str, float]) -> list[str]:
        """Hyperparameters whose chosen value is the least or the largest of the grid."""
        return [name for name, values in self.values.items() if chosen[name] in (min(values), max(values))]


GRIDS = (
    Grid("mc-dropout", {"rate": (0.005, 0.01, 0.02, 0.05), "lr": (0.003, 0.01, 0.03)}),
    Grid("swag", {"swa_lr": (0.0003, 0.001, 0.003, 0.01, 0.03)}),
    Grid("psgld", {"lr": (0.001, 0.003, 0.01, 0.03)}),
    Grid("csgmcmc", {"lr": (0.001, 0.003, 0.01, 0.03, 0.1)}, ROUGH),
)


def configurations(grid: Grid) -> dict[str, dict[str, float]]:
    """Row of a table -> its hyperparameters."""
    default = METHODS.get(grid.method)()
    found = {}
    for values in product(*grid.values.values()):
        chosen = dict(zip(grid.values, values, strict=True))
        names = [field.name for field in fields(default) if field.name in chosen]  # type: ignore[arg-type]
        changed = [f"{name}={chosen[name]}" for name in names if chosen[name] != getattr(default, name)]
        found[f"{grid.method} [{','.join(changed)}]" if changed else grid.method] = chosen
    return found


def tuned(grid: Grid, db: str) -> Tuning:
    """The grid's validation scores, of what the database holds of it."""
    scores = bnnbench.scores(db, method=grid.method, budget="quick")
    rows = configurations(grid)
    scores = scores[row_names(scores).isin(rows) & scores["task"].isin(grid.tasks)]
    return tuning(scores, grid.method, list(rows), grid.tasks)


def show(grid: Grid, found: Tuning) -> None:
    """Print a line a configuration, and what is chosen."""
    print(f"\n{grid.method}: {', '.join(found.table.tasks)}")
    for row in found.table.rows:
        entries = [found.table.entries.get((row, task)) for task in found.table.tasks]
        texts = [mean_and_error(e.mean, e.se) + "‡" * e.unconverged if e and e.n else "–" for e in entries]
        print(f"{row:40}", "  ".join(f"{text:>16}" for text in texts), f"  rank {found.rank[row]:.2f}")
    best = found.chosen or min(found.table.rows, key=lambda row: found.rank[row])
    what = "chosen" if found.chosen else "none is complete and converged everywhere; of the smallest rank"
    ends = grid.ends(configurations(grid)[best])
    print(f"{what}: {best}", f"(at an end of the grid: {', '.join(ends)})" if ends else "(inside the grid)")


def main() -> None:
    """Train what is missing, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--db", default="tune.db", help="database of the runs")
    parser.add_argument("--only", default="", help="methods, all by default")
    parser.add_argument("--jobs", type=int, default=1, help="processes that train at once")
    given = parser.parse_args()
    only = [name for name in given.only.split(",") if name]
    for grid in (g for g in GRIDS if not only or g.method in only):
        for task in grid.tasks:
            options = {"budget": "quick", "settings": grid.settings, "db": given.db, "jobs": given.jobs}
            bnnbench.run(grid.method, task, splits=SPLITS, **options)
        show(grid, tuned(grid, given.db))


if __name__ == "__main__":
    main()

"""Tables of ratios from the timings of flows, of one run or of several.

    python benchmarks/flow_table.py flows.json

One table for each kind of work and number of turns, one row for each cell: the milliseconds of bnnbench, then how many
times longer each other library takes, all at their better of eager and compiled. Below, geometric means of the ratios,
and of those of the libraries' eager code, which is their default, to the better of bnnbench. A ratio is that of one
turn, in which all libraries run one after the other, in the median over the turns: a machine's pace drifts, and a turn
is short.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

OWN = "bnnbench"
LEGEND = """Medians over turns, in
each of which all libraries run one after the other; equal layers, widths and bins. A ratio says how many times longer
the other library takes in a turn, each at the better of eager and compiled; `gradient` is log p forward, with its
log-determinant, and backward to all parameters; the others are values without gradients. The masked networks of
normflows leave out the activation after their first layer, which is less work: they are timed with it put in, as the
others have it, and as shipped. Made by `benchmarks/flow_table.py`."""
Cell = tuple[str, int, int]  # kind, dimensions, rows
Turns = dict[int, float]  # seconds by turn
Times = dict[tuple[str, str], Turns]  # by library and "eager" or "compiled"


def read(entries: Iterable[dict]) -> dict[str, dict[Cell, Times]]:
    """Seconds of each turn by work and cell, of the benchmarks in pytest-benchmark's JSON."""
    found: dict[str, dict[Cell, Times]] = defaultdict(lambda: defaultdict(lambda: defaultdict(dict)))
    for entry in entries:
        p = entry["params"]
        found[p["work"]][p["kind"], p["dim"], p["rows"]][p["library"], p["how"]][p["turn"]] = entry["stats"]["min"]
    return found


def by_turns(works: dict[str, dict[Cell, Times]]) -> Iterator[tuple[str, dict[Cell, Times]]]:
    """Title and cells of each table: the cells of a kind of work that were timed in as many turns, in their order."""
    for work, cells in works.items():
        kinds = list(dict.fromkeys(kind for kind, _, _ in cells))
        order = sorted(cells, key=lambda cell: (kinds.index(cell[0]), cell[1:]))
        turns = {cell: max(map(len, cells[cell].values())) for cell in order}
        for count in sorted(set(turns.values()), reverse=True):
            yield f"{work}, {count} turns", {cell: cells[cell] for cell in order if turns[cell] == count}


def best(times: Times, library: str) -> Turns:
    """The better of eager and compiled; empty where neither was timed."""
    ways = [turns for (name, _), turns in times.items() if name == library]
    return min(ways, key=lambda turns: statistics.median(turns.values()), default={})


def ratio(theirs: Turns, own: Turns) -> float:
    """The median over turns of the ratio in one; nan where there is none."""
    shared = theirs.keys() & own.keys()
    return statistics.median(theirs[turn] / own[turn] for turn in shared) if shared else math.nan


def table(cells: dict[Cell, Times]) -> str:
    """The ratios of one kind of work, in Markdown."""
    cells = {cell: times for cell, times in cells.items() if best(times, OWN)}
    libraries = list(dict.fromkeys(name for times in cells.values() for name, _ in times if name != OWN))
    lines = [_line("flow", "dimensions", "rows", f"{OWN} [ms]", *libraries), _line(*["---"] * (4 + len(libraries)))]
    to_best, to_eager = [], []
    for (kind, dim, rows), times in cells.items():
        own = best(times, OWN)
        to_best.append([ratio(best(times, name), own) for name in libraries])
        to_eager.append([ratio(times.get((name, "eager"), {}), own) for name in libraries])
        lines.append(
            _line(kind, dim, f"{rows:,}", f"{1e3 * statistics.median(own.values()):.3g}", *map(_number, to_best[-1]))
        )
    for label, ratios in (("geometric mean", to_best), ("geometric mean, theirs eager", to_eager)):
        lines.append(
            _line(label, "", "", "", *(_number(_geometric_mean(column)) for column in zip(*ratios, strict=True)))
        )
    return "\n".join(lines)


def _line(*entries: object) -> str:
    return f"| {' | '.join(map(str, entries))} |"


def _geometric_mean(ratios: Iterable[float]) -> float:
    """Over the cells that were timed."""
    known = [ratio for ratio in ratios if not math.isnan(ratio)]
    return statistics.geometric_mean(known) if known else math.nan


def _number(ratio: float) -> str:
    return "-" if math.isnan(ratio) else f"{ratio:.2f}"


def where(document: dict) -> str:
    """Device, threads and version."""
    info = document["benchmarks"][0]["extra_info"]
    device = document["machine_info"]["cpu"]["brand_raw"] if info["device"] == "cpu" else info["device"]
    return f"{device}, {info['threads']} threads, torch {info['torch']}."


if __name__ == "__main__":
    documents = [json.loads(Path(name).read_text(encoding="utf-8")) for name in sys.argv[1:]]
    places = dict.fromkeys(map(where, documents))
    if len(places) > 1:
        sys.exit(f"Timings of different machines or versions make no table: {' '.join(places)}")
    works = read(entry for document in documents for entry in document["benchmarks"])
    print("# Timings of normalizing flows\n")
    print(f"{''.join(places)} {LEGEND}\n")
    print("\n\n".join(f"**{work}**\n\n{table(cells)}" for work, cells in by_turns(works)))

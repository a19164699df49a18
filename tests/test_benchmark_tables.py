"""The script that makes tables of the timings of flows."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "flow_table.py"


def entry(library, how, least, dim=2, kind="maf", work="gradient", turn=0):
    params = {"work": work, "kind": kind, "dim": dim, "rows": 4096, "library": library, "how": how, "turn": turn}
    return {"params": params, "stats": {"min": least, "median": 2 * least}, "extra_info": WHERE}


def turn(number, ours, **others):
    """Timings, eager and compiled, by library."""
    times = {"bnnbench": ours} | others
    return [
        entry(library, how, least, turn=number)
        for library, pair in times.items()
        for how, least in zip(("eager", "compiled"), pair, strict=True)
    ]


WHERE = {"device": "cpu", "threads": 2, "torch": "2.15"}
DOCUMENT = {
    "machine_info": {"cpu": {"brand_raw": "a processor"}},
    "benchmarks": [
        *turn(0, ours=(0.003, 0.001), zuko=(0.004, 0.005), nflows=(0.008, 0.0015)),
        *turn(1, ours=(0.027, 0.009), zuko=(0.036, 0.045), nflows=(0.072, 0.0135)),  # the machine is slower
        *turn(2, ours=(0.003, 0.001), zuko=(0.4, 0.4), nflows=(0.4, 0.0005)),  # other work beside one of them
        *(entry("bnnbench", "eager", 0.01, dim=50, turn=t) for t in range(3)),
        *(entry("zuko", "eager", 0.09, dim=50, turn=t) for t in range(3)),
        *(entry("zuko", "compiled", 0.01, dim=50, turn=t) for t in range(3)),
        entry("zuko", "eager", 1.0, work="inverse"),  # which ours was not timed on
    ],
}


def tables(folder, *documents):
    """The script's run on these files."""
    files = [folder / f"flows{i}.json" for i in range(len(documents))]
    for file, document in zip(files, documents, strict=True):
        file.write_text(json.dumps(document), encoding="utf-8")
    return subprocess.run([sys.executable, SCRIPT, *files], capture_output=True, encoding="utf-8", check=False)


def test_ratios_are_to_the_better_of_eager_and_compiled(tmp_path):
    printed = tables(tmp_path, DOCUMENT).stdout
    head, *parts = printed.split("\n\n**")
    assert "a processor, 2 threads, torch 2.15." in head
    assert parts[0].splitlines() == [
        "gradient, 3 turns**",
        "",
        "| flow | dimensions | rows | bnnbench [ms] | zuko | nflows |",
        "| --- | --- | --- | --- | --- | --- |",
        "| maf | 2 | 4,096 | 1 | 4.00 | 1.50 |",
        "| maf | 50 | 4,096 | 10 | 1.00 | - |",
        "| geometric mean |  |  |  | 2.00 | 1.50 |",
        "| geometric mean, theirs eager |  |  |  | 6.00 | 8.00 |",
    ]
    assert parts[1].startswith("inverse, 1 turns**")
    assert "maf" not in parts[1]


def test_cells_of_fewer_turns_have_a_table_of_their_own(tmp_path):
    further = [entry(library, "eager", 0.01, dim=784, turn=t) for library in ("bnnbench", "zuko") for t in (0, 1)]
    printed = tables(tmp_path, DOCUMENT | {"benchmarks": [*further, *DOCUMENT["benchmarks"]]}).stdout
    most, fewer = printed.split("**gradient, ")[1:3]
    assert most.startswith("3 turns**")
    assert [line for line in most.splitlines() if line.startswith(("| maf", "| geometric mean |"))] == [
        "| maf | 2 | 4,096 | 1 | 4.00 | 1.50 |",
        "| maf | 50 | 4,096 | 10 | 1.00 | - |",
        "| geometric mean |  |  |  | 2.00 | 1.50 |",
    ]
    assert fewer.startswith("2 turns**")
    assert "| maf | 784 | 4,096 | 10 | 1.00 |" in fewer


def test_files_of_one_machine_make_one_table(tmp_path):
    parts = [DOCUMENT | {"benchmarks": chosen} for chosen in (DOCUMENT["benchmarks"][:7], DOCUMENT["benchmarks"][7:])]
    assert tables(tmp_path, *parts).stdout == tables(tmp_path, DOCUMENT).stdout
    other = DOCUMENT | {"machine_info": {"cpu": {"brand_raw": "another"}}}
    refused = tables(tmp_path, DOCUMENT, other)
    assert refused.returncode == 1
    assert "different machines" in refused.stderr

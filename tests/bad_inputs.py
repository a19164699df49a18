"""Bad inputs: command lines and calls that must be refused by one sentence, before anything is written.

A command line is a list of words. Paths are meant in a folder that holds `results.db` (of a small run), the file
`notes.txt`, the empty folder `folder` and the named pipe `pipe`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from bnnbench.methods import METHODS
from bnnbench.methods.map import MAP
from bnnbench.tasks import Task

LONG = "x" * 300
RUN = ["run", "--methods", "constant", "--task", "toy-homoscedastic", "--budget", "smoke", "--threads", "1"]  # cheap

TEST_SETS = ["rotatoin", "rotation", "all", "shift", "rotation-all", LONG, "α-ω", "\udcff", "../x", "-1", "*", "mnist"]
NAMES = ["mop", "MAP?", LONG, "α-ω", "a\nb", "\udcff", "../x", "-1", "*", "all,mop", "mop,all", "map constant", "map;"]
TASKS = ["hosing", LONG, "α-ω", "a\nb", "\udcff", "../x", "-1", "*", "all,hosing", "toy starter"]
WHOLE = ["", " ", "x", "1.5", "1e0", "nan", "inf", "-1", "0", "0x1", "1,2", "9" * 30, "9" * 5000]
SPLITS = ["", ",", "x", "0-3", "1.5", "1e0", "nan", "-1", "99", "0,x", "0,1", "0_0", "0;0", "9" * 30, "9" * 5000]
SETTINGS = [
    "map", "map.lr", "map.lr=", "=1", ".=1", "map.=1", ".lr=1", "mop.lr=1", "map.rate=1", "map.lr=1,,2", "map.lr=0,x",
    "map.name=x", "map.version=2", "map.__class__=x", "map.lr==1", "map.lr=0x1", "map.lr=1e999", "map.lr=\udcff",
    "map.early_stopping=maybe", "map.early_stopping=1", "map.lr=" + LONG, LONG + "=1", "α.β=γ", "map.lr=1\n2", "",
    "laplace-kron.precision=-1", "laplace-kron.predictive=none", "gp.kernel=none", "laplace-last.structure=none",
    "swag.rank=1", "swag.rank=51", "map.lr=" + ",".join(["0.1"] * 3) + ",", "sgld.samples=1" + "0" * 5000,
]  # fmt: skip
DATABASES = [
    "", ".", "/", "folder", "notes.txt", "pipe", "absent/x.db", "notes.txt/x.db", LONG,
    f"{LONG}/x.db", "~nosuchuser/x.db", ":memory:", "a\nb/x.db", "\udcff/x.db", "folder/",
    "sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:///absent/x.db", "sqlite:////", "sqlite:///~nosuchuser/x",
    "sqlite:///results.db?mode=ro",
    f"sqlite:///{LONG}", "postgresql://", "postgresql://host", "postgresql://host:99999/x", "postgresql://h:port/x",
    "postgresql+nodriver://h/x", "postgresql://127.0.0.1:1/x", "mysql://h/x", "oracle://h/x", "http://h/x", "://",
    "foo://", "a b://c", "file://results.db", "postgresql://u:p@[::1/x", "sqlite://host/x.db", "/proc/x.db",
]  # fmt: skip
FOLDERS = ["notes.txt", "notes.txt/x", LONG, f"{LONG}/x", "~nosuchuser/x", "pipe", "pipe/x"]
READERS = [
    ["status"],
    ["show", "0"],
    ["export"],
    ["report"],
    ["figure", "scores"],
    ["forget", "--superseded"],
    ["compare", "map", "constant"],
]
READERS += [["rescore"], ["submit", "--out", "x.zip"]]


def lines() -> Iterator[list[str]]:
    """The command lines."""
    for name in NAMES:
        yield [*RUN, "--methods", name]
        yield ["check", "--threads", "1", "--", name]
    yield from ([*RUN, option, name] for option in ("--task", "--tasks") for name in TASKS)
    yield from ([*RUN, "--budget", name] for name in ["", "quik", "SMOKE", "smoke,quick", " smoke", LONG, "\udcff"])
    for option in ("--split-rule", "--splits"):
        yield from ([*RUN, option, name] for name in ["", "10folds", "gap", "fixed,gap", "FIXED", LONG, "\udcff"])
    for option in ("--splits", "--folds"):
        yield from ([*RUN, option, value] for value in SPLITS)
    yield from ([*RUN, "--test-sets", name] for name in TEST_SETS)
    yield from (
        [*RUN, "--calibrate", name] for name in ["conformol", "temperature;conformal", "ALL", "*", LONG, "\udcff"]
    )
    yield from ([*RUN, "--task", name] for name in ["rotation", "toy-homoscedastic,rotation", "shift", "all,fgsm"])
    yield from ([*RUN, "--seeds", value] for value in [*WHOLE, "1000000000"])
    for option in ("--threads", "--jobs"):
        yield from ([*RUN, option, value] for value in [*WHOLE, "10000", "4294967297"])
    yield from (["check", "constant", "--threads", value] for value in [*WHOLE, "10000"])
    yield from ([*RUN, "--timeout", value] for value in ["", "x", "0", "-1", "nan", "-inf", "1 h", "1,5"])
    yield from ([*RUN, "--device", value] for value in ["", "tpu", "CPU", "cuda:99", "cpu,cuda", "mps", "\udcff"])
    for text in SETTINGS:
        yield [*RUN, "--methods", "all", "--set", text]
        yield ["check", "map", "--threads", "1", "--set", text]
    yield [*RUN, "--set", "map.lr=1"]
    yield [*RUN, "--methods", "map", "--set", "map.lr=0.1", "--set", "map.lr=0.2"]
    grid = ",".join(f"0.{i}1" for i in range(1, 100))
    fields = ("lr", "floor", "burn_in", "temperature", "prior_scale")
    yield [*RUN, "--methods", "sgld", *(word for name in fields for word in ("--set", f"sgld.{name}={grid}"))]
    yield ["check", "map", "--set", "map.lr=0.1,0.2"]
    yield ["check", "flow-nice"]
    yield from ([*RUN, "--db", place] for place in DATABASES)
    yield from ([*reader, "--db", place] for reader in READERS for place in [*DATABASES, "absent.db"])
    yield from (["run", "--methods", "constant", "--task", "yacht", "--data-dir", place] for place in FOLDERS)
    for place in FOLDERS:
        yield ["data", "fetch", "yacht", "--data-dir", place]
        yield ["data", "import", "yacht", "copy", "--data-dir", place]
        yield ["report", "--out", place]
        yield ["figure", "scores", "--out", f"{place}/x.pdf"]
    yield from (["export", "--out", place] for place in [*FOLDERS[1:], "", ".", "folder"])
    yield from (["data", "import", "yacht", place] for place in [*FOLDERS[1:], "", "notes.txt", "folder", "absent"])
    yield from (["data", "fetch", name] for name in [*TASKS[:6], "", "toy-antoran,digits"])
    yield from (["data", "import", name, "folder"] for name in [*TASKS[:6], ""])
    yield from (["report", option, name] for option in ("--task", "--tasks") for name in TASKS)
    yield from (["report", "--methods", name] for name in NAMES)
    yield from (
        ["figure", "--", name] for name in ["", "score", "Scores", "all", "scores,toy", LONG, "\udcff", "-1", "../x"]
    )
    yield from (["figure", "scores", "--size", name] for name in ["", "colum", "COLUMN", "3.3", LONG, "\udcff"])
    yield from (["figure", "scores", "--out", name] for name in ["", ".", "folder", "x", "x.jpg", "pdf", "pipe", LONG])
    yield from (["figure", "scores", "--metric", name] for name in ["", "rmsee", "RMSE", "rmse,crps", LONG, "\udcff"])
    yield from (["figure", "scores", "--split-rule", name] for name in ["", "10folds", "gap", "FIXED", LONG, "\udcff"])
    yield from (["figure", "scores", "--reference", name] for name in ["", "mop", "sgld", LONG, "\udcff"])
    yield from (["figure", name] for name in ["pit,scores", "rotation", "fidelity", "flow-maps", "pruning", "attacks"])
    yield from (["report", "--budget", name] for name in ["", "quik", "full", LONG, "\udcff"])
    yield from (["report", "--format", name] for name in ["", ",", "docx", "md;csv", "MD", LONG, "\udcff"])
    yield from (
        ["report", "--figures", name] for name in ["", ",", "gif", "svg;png", "SVG", "svg,none", LONG, "\udcff"]
    )
    yield from (["report", "--jobs", value] for value in [*WHOLE, "10000", "4294967297"])
    for place in [*DATABASES, "absent.json", "folder.zip"]:
        yield ["merge", "--into", "all.db", "--", place]
    for place in [*DATABASES, "results.db"]:
        yield ["merge", "results.db", "--into", place]
        yield ["compare", "map", "--against", place] if place != "results.db" else ["compare", "map"]
    yield from (["merge", "results.db", "--into", "all.db", "--prefer", name] for name in ["", "best", "FIRST", LONG])
    yield from (["merge", "results.db", "--into", "all.db", "--artifacts", place] for place in FOLDERS)
    yield from (["merge"], ["merge", "results.db"], ["validate"], ["submit"], ["compare"], ["compare", "map", "map"])
    yield from (["compare", "map", name] for name in [*NAMES, "map [lr=1]", "map []"])
    named = {"--task": TASKS, "--metric": ["", "rms", LONG, "epistemic_std"], "--budget": ["quik", LONG]}
    named |= {"--split-rule": ["gap", ""], "--evaluation": ["", "kmnist"], "--format": ["", "xml", "MD"]}
    yield from (["compare", "map", "constant", option, name] for option, names in named.items() for name in names)
    for name in ["", "mop", LONG, "\udcff", "*"]:
        yield ["rescore", "--methods", name]
        yield ["rescore", "--task", name]
    yield from (["rescore", "--test-sets", name] for name in TEST_SETS if name != "all")
    yield from (["rescore", "--calibrate", name] for name in ["conformol", "ALL", "*", LONG])
    yield from (["submit", "--out", place] for place in [*FOLDERS, "", "x.txt", "folder", "notes.txt"])
    yield from (["submit", "--out", "x.json", "--methods", name] for name in ["mop", "map,mop", LONG, "\udcff"])
    yield from (["validate", place] for place in [*FOLDERS, "", "results.db", "absent.zip", "folder"])
    yield from (["forget", *words] for words in ([], ["--dry-run"], ["--superseded", "x"], ["--all"]))
    yield from (["export", "--format", name] for name in ["", "xlsx", "csv,json", "CSV", LONG, "\udcff"])
    yield from (["show", name] for name in ["", "zzz", LONG, "%", "'; DROP TABLE cell; --", "α", "\udcff", "-1", "_"])
    yield from (["list", name] for name in ["", "sheep", "METHODS", LONG, "\udcff"])
    scored = ["--task", "toy-homoscedastic", "--method", "mine"]
    for name in TASKS:
        yield ["splits", "--out", "new", "--", name]
        yield ["score", "notes.txt", "--method", "mine", "--task", name]
    yield from (["splits", "toy-homoscedastic", "--out", place] for place in [*FOLDERS, "", ".", "results.db"])
    yield from (["splits", "diabetes", "--out", "new", "--format", name] for name in ["", "xlsx", "npz;csv", LONG])
    yield from (["splits", "diabetes", "--out", "new", "--split-rule", name] for name in ["", "gap", LONG, "\udcff"])
    yield from (["splits"], ["splits", "diabetes"], ["splits", "moons", "--out", "new"], ["score"], ["score", "x.npz"])
    yield from (
        ["score", place, *scored] for place in [*FOLDERS, "", ".", "folder", "absent.npz", "results.db", "x\udcff"]
    )
    yield from (
        ["score", "notes.txt", *scored, "--method", name] for name in [*NAMES, "map", "all", "references", "a b"]
    )
    yield from (["score", "notes.txt", *scored, "--gradients", value] for value in WHOLE if value != "1,2")
    yield from (["score", "notes.txt", *scored, "--splits", value] for value in SPLITS)
    yield from (["score", "notes.txt", *scored, "--budget", name] for name in ["", "quik", "QUICK", LONG, "\udcff"])
    yield from (["score", "notes.txt", *scored, "--citation", name] for name in ["a\nb", "\udcff", "x" * 2000])
    yield from (["walk"], [LONG], ["\udcff"], ["run", "map"], ["show"], ["data", "walk"], ["--nope"], ["run", "-x"])
    yield from (["data", "fetch"], ["data", "import", "yacht"], ["check"], ["run", "--db"], ["list", "a", "b"])


def hyperparameters() -> Iterator[list[str]]:
    """Every field of every method, with values that none can take."""
    bad = {
        float: ["nan", "inf", "-1", "x", "", "1e999"],
        int: ["0", "-1", "1.5", "nan", "x", "", "1000000000000"],
        bool: ["maybe", "2", ""],
        str: ["nonsense", "", "-1"],
    }
    for method in METHODS:
        for field in dataclasses.fields(method):
            for value in bad[type(field.default)]:
                yield [*RUN, "--methods", method.name, "--task", "all", "--set", f"{method.name}.{field.name}={value}"]


CALLS: list[tuple[str, tuple, dict]] = [
    *(("run", (value, "toy-homoscedastic"), {}) for value in [None, 5, [1], [None], [["map"]], b"map", True, []]),
    *(("run", ("constant", value), {}) for value in [None, 5, [1], [None], [["starter"]], b"x", True, []]),
    *(("run", (), {"budget": value}) for value in [None, 5, ["smoke"], b"smoke", {}, True]),
    *(("run", (), {"split_rule": value}) for value in [5, ["fixed"], b"fixed", {}, True]),
    *(("run", (), {"splits": value}) for value in [1.5, [1.5], ["x"], [None], {}, b"0", True, [[0]], []]),
    *(("run", (), {"test_sets": value}) for value in [5, None, [1], [None], b"rotation", "rotation", ["all"], {}]),
    *(("run", (), {"calibrate": value}) for value in [5, None, [1], [None], b"conformal", "conformol", {1}]),
    *(("run", (MAP(value), "toy-homoscedastic"), {}) for value in [-1.0, float("nan"), "0.1", None, [0.1]]),
    *(("run", (value, "toy-homoscedastic"), {}) for value in [MAP, [MAP], object(), [MAP(0.1), "mop"]]),
    ("run", (MAP(0.1), "toy-homoscedastic"), {"settings": "map.lr=0.2"}),
    ("run", ("constant", Task("housing", "regression", ("own",), ("fixed",), loader=print)), {}),
    ("run", ("constant", Task("mine", "regression", ("own",), ("fixed",), loader=print)), {}),
    *(("run", (), {"seeds": value}) for value in [None, 1.5, "1", [1], True, float("nan"), 10**12, -(10**30)]),
    *(("run", (), {name: v}) for name in ("threads", "jobs") for v in [1.5, "1", [1], True, float("nan"), 10**12, 0]),
    *(("run", (), {"timeout": value}) for value in ["1", [1], float("nan"), 0, -1, {}, 1j]),
    *(("run", (), {"device": value}) for value in [None, 5, ["cpu"], b"cpu", "cuda:99"]),
    *(("run", (), {"settings": value}) for value in [5, None, {"map": 1}, [5], [None], b"map.lr=1", ["map.lr=1"]]),
    *(("run", (), {"db": value}) for value in [None, 5, [], b"x.db", True, "a\0b", object()]),
    *(("run", (), {"data_dir": value}) for value in [5, [], True, object()]),
    *(("check", (value,), {}) for value in [None, 5, ["map"], b"map", "", MAP, MAP(-1.0), MAP("x")]),
    ("check", (MAP(0.1),), {"settings": "map.lr=0.2"}),
    *(("check", ("constant",), {"threads": value}) for value in [1.5, "1", True, 10**12, 0]),
    *(("check", ("constant",), {"settings": value}) for value in [5, None, [5], ["map.lr=1"]]),
    *(("load", (value, "0"), {}) for value in [None, 5, [], b"x.db", "a\0b"]),
    *(("load", ("results.db", value), {}) for value in [None, 5, [], b"0", True]),
    *(("scores", (value,), {}) for value in [None, 5, [], b"x.db", "a\0b"]),
    *(("scores", ("results.db",), {key: "x"}) for key in ["nope", "Task", "value; --"]),
    *(("report", (value,), {}) for value in [None, 5, [], b"x.db", "a\0b"]),
    *(("report", (), {"out": value}) for value in [None, 5, [], "a\0b"]),
    *(("report", (), {"tasks": value}) for value in [5, [1], [None], b"starter", []]),
    *(("report", (), {"methods": value}) for value in [5, [1], [None], b"map", []]),
    *(("report", (), {"budget": value}) for value in [5, ["smoke"], b"smoke"]),
    *(("report", (), {"figures": value}) for value in [5, None, [1], [], ["gif"], b"svg", ["none", "svg"]]),
    *(("report", (), {"jobs": value}) for value in [1.5, "1", [1], True, float("nan"), 10**12, 0]),
    *(("figure", (value,), {}) for value in [None, 5, [], b"scores", "score", ""]),
    *(("figure", ("scores", value), {}) for value in [None, 5, [], b"x.db", "a\0b"]),
    *(("figure", ("scores",), {"out": value}) for value in [5, [], "a\0b", "x.doc", b"x.pdf"]),
    *(("figure", ("scores",), {"tasks": value}) for value in [5, [1], [None], b"starter", []]),
    *(("figure", ("scores",), {"methods": value}) for value in [5, [1], [None], b"map", [], ["map", "mop"]]),
    *(("figure", ("scores",), {"size": value}) for value in [None, 3.3, b"column", ["column"], (3.3, 2)]),
    *(("figure", ("scores",), {name: 5}) for name in ["metric", "budget", "split_rule", "reference"]),
    *(("merge", (value, "all.db"), {}) for value in [None, 5, [], b"x.db", "a\0b", [None], [5], {}, "absent.db", True]),
    *(("merge", ("results.db", value), {}) for value in [None, 5, [], b"x.db", "a\0b", "results.db"]),
    *(("merge", ("results.db", "all.db"), {"prefer": value}) for value in [5, [], "best", True]),
    *(("compare", value, {}) for value in [(), ("map",), (5, 6), (None, None), ("map", "map"), (["map"], ["gp"])]),
    *(("compare", ("map", "constant"), {name: 5}) for name in ["db", "against", "tasks", "metrics", "budget"]),
    ("compare", ("map", "constant"), {"split_rule": 5}),
    *(("rescore", (value,), {}) for value in [None, 5, [], b"x.db", "a\0b", "absent.db"]),
    *(("rescore", (), {name: 5}) for name in ["tasks", "methods", "test_sets", "calibrate", "data_dir", "device"]),
    *(("submit", ("results.db", value), {}) for value in [None, 5, [], b"x.zip", "a\0b", "x.txt"]),
    *(("submit", ("results.db", "x.zip"), {name: 5}) for name in ["methods", "tasks", "budget"]),
    *(("validate", (value,), {}) for value in [None, 5, [], b"x.zip", "a\0b", "absent.zip", "results.db"]),
    *(("forget", (value,), {"superseded": True}) for value in [None, 5, [], b"x.db", "a\0b", "absent.db"]),
    ("forget", ("results.db",), {}),
    ("forget", ("results.db",), {"dry_run": True}),
    *(("report", (), {"formats": value}) for value in [5, [1], [], ["docx"], b"md"]),
]  # fmt: skip

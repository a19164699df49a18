"""Entry points of other packages: what cannot be taken is left out with a warning, and nothing else suffers."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest
from click.testing import CliRunner

from bnnbench import registry
from bnnbench.cli import main
from bnnbench.errors import UserError
from bnnbench.methods import METHODS, Method
from bnnbench.methods.map import MAP
from bnnbench.metrics import METRICS
from bnnbench.registry import PluginWarning
from bnnbench.tasks import TASKS, Task

GOOD = """
    from dataclasses import dataclass
    from bnnbench.methods import METHODS, Method
    from bnnbench.methods.map import MAP
    from bnnbench.metrics import Metric, Value, metric
    from bnnbench.tasks import TASKS, Task

    class Good(MAP):
        name, tags, version = "good", ("mine",), 1

    def named(name, tags=("mine",)):
        return type("Named", (MAP,), {"name": name, "tags": tags})

    def task(name="mine", kind="regression", groups=("mine",), rules=("10fold",), **more):
        return Task(name, kind, groups, rules, **({"loader": dict} | more))
"""
METHOD_FAULTS = {
    "raise ValueError('no luck')": "ValueError: no luck",
    "raise SystemExit(3)": "SystemExit: 3",
    "import sys; sys.exit('bye')": "SystemExit: bye",
    "raise BaseException('odd')": "BaseException: odd",
    "import nosuchpackage": "ModuleNotFoundError: No module named 'nosuchpackage'",
    "def broken(:": "SyntaxError",
    "pass": "AttributeError",
    "entry = 5": "no subclass of bnnbench.methods.Method",
    "entry = lambda: None": "no subclass of bnnbench.methods.Method",
    "entry = Good()": "no subclass of bnnbench.methods.Method",
    "entry = Method": "cannot be made with its defaults (TypeError",
    "entry = type('Bare', (Method,), {'name': 'bare'})": "cannot be made with its defaults (TypeError",
    "entry = named('map')": "its name is registered twice",
    "entry = named('ensembles')": "'ensembles' is a group of bnnbench's methods",
    "entry = named('all')": "no command line can name it",
    "entry = named('a,b')": "no command line can name it",
    "entry = named(' a')": "no command line can name it",
    "entry = named('x' * 101)": "no command line can name it",
    "entry = named('a\\nb')": "no command line can name it",
    "entry = named('')": "its name must be a string",
    "entry = named(5)": "its name must be a string",
    "entry = named('new', ('sampling',))": "'sampling', which is a group of methods of bnnbench",
    "entry = named('new', ('map',))": "'map', which is a method of bnnbench",
    "entry = named('new', ('all',))": "'all', which is",
    "entry = named('new', 'mine')": "groups a tuple of strings",
    "METHODS.register(named('map'))": "its name is registered twice",
    "entry = type('V', (Good,), {'name': 'v', 'version': '1'})": "its version must be a whole number",
    "entry = type('V', (Good,), {'name': 'v', 'supports': ()})": "its version must be a whole number",
}
TASK_FAULTS = {
    "entry = Good": "no bnnbench.tasks.Task",
    "entry = task('housing')": "its name is registered twice",
    "entry = task('uci')": "'uci' is a group of bnnbench's tasks",
    "entry = task(groups=('uci',))": "'uci', which is a group of tasks of bnnbench",
    "entry = task(groups=('housing',))": "'housing', which is a task of bnnbench",
    "entry = task(groups=())": "its groups and its split rules must be tuples",
    "entry = task(groups=['mine'])": "its groups and its split rules must be tuples",
    "entry = task(rules=['10fold'])": "its groups and its split rules must be tuples",
    "entry = task(hidden=[20])": "must be tuples where they are lists",
    "entry = task(kind='clustering')": "its kind is 'clustering'",
    "entry = task(loader=None)": "neither a loader nor a data card",
    "raise RuntimeError('x')": "RuntimeError: x",
}
METRIC_FAULTS = {
    "entry = Good": "no bnnbench.metrics.Metric",
    "entry = lambda c: Value(0.0)": "no bnnbench.metrics.Metric",
    "metric('rmse', kinds=('regression',), better=-1, unit='', summary='')(print)": "its name is registered twice",
    "entry = metric('m', kinds=('people',), better=-1, unit='', summary='')(print)": "its kinds are people",
    "entry = metric('m', kinds=('ood',), better=1, unit='', summary='', needs=('z',))(print)": "it needs z",
}
FAULTS = [
    *((METHODS, "methods", code, words) for code, words in METHOD_FAULTS.items()),
    *((TASKS, "tasks", code, words) for code, words in TASK_FAULTS.items()),
    *((METRICS, "metrics", code, words) for code, words in METRIC_FAULTS.items()),
]


def package(folder: Path, name: str, points: str, code: str) -> PathDistribution:
    """An installed package of one module `MODULE`, which follows the good definitions."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(textwrap.dedent(points))
    (folder / f"module_{name}.py").write_text(textwrap.dedent(GOOD) + code + "\n")
    return PathDistribution(info)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Makes packages the only ones that are installed, and the registries discover them anew."""
    monkeypatch.syspath_prepend(tmp_path)
    registry.warn.cache_clear()
    for entries in (METHODS, TASKS, METRICS):
        entries.names()
        monkeypatch.setattr(entries, "_entries", dict(entries._entries))
        monkeypatch.setattr(entries, "_complete", False)

    def install(*packages: tuple[str, str, str]) -> None:
        made = [package(tmp_path, *arguments) for arguments in packages]
        monkeypatch.setattr(registry, "distributions", lambda: made)

    yield install
    for name in [name for name in sys.modules if name.startswith("module_")]:
        del sys.modules[name]


@pytest.mark.parametrize(("entries", "group", "code", "words"), FAULTS, ids=[fault[2] for fault in FAULTS])
def test_what_cannot_be_taken_is_left_out(entries, group, code, words, install):
    ours = list(entries._entries)
    bad = "[bnnbench.{}]\nbad = module_bad:entry\n"
    install(("bad", bad.format(group), code), ("good", "[bnnbench.methods]\ngood = module_good:Good\n", ""))
    with pytest.warns(PluginWarning) as caught:
        found = entries.names()
    (warning,) = [str(w.message) for w in caught]
    assert warning.startswith(f"The {entries.noun} 'bad' (module_bad:entry) of the package bad is left out: ")
    assert words in warning
    assert warning.endswith(".")
    assert "\n" not in warning.replace("a\nb", "")
    assert found == ours + (["good"] if entries is METHODS else [])
    assert entries.names() == found  # once a process


def test_good_entries_are_taken(install):
    points = """
        [bnnbench.methods]
        good = module_good:Good
        [bnnbench.tasks]
        mine = module_good:one
        [bnnbench.metrics]
        m = module_good:two
    """
    code = """
one = task()
two = metric("m", kinds=("regression",), better=-1, unit="", summary="")(print)
other = type("Other", (Good,), {"name": "other", "tags": ("other-target", "references")})
"""
    install(("good", points, code))
    assert METHODS.names()[-1] == "good"
    assert TASKS.names()[-1] == "mine"
    assert METRICS.names()[-1] == "m"


def test_a_class_with_fields_that_are_no_hyperparameters_is_refused():
    undecorated = type("Own", (MAP,), {"name": "own", "__annotations__": {"width": float, "tags": "ClassVar[tuple]"}})
    with pytest.raises(UserError, match=r"width is no hyperparameter yet; put @dataclass"):
        METHODS.admitted(undecorated)
    assert METHODS.admitted(type("Own", (MAP,), {"name": "own"}))


def test_two_packages_and_one_name(install):
    points = "[bnnbench.methods]\ngood = module_{}:Good\n"
    install(("one", points.format("one"), ""), ("two", points.format("two"), ""))
    with pytest.warns(PluginWarning, match="of the package two is left out: .* registered twice"):
        assert METHODS.get("good").__module__ == "module_one"


def test_a_damaged_list_of_entry_points(install):
    good = "[bnnbench.methods]\ng = module_good:Good\n"
    install(("bad", "[bnnbench.methods]\nno equals sign\n", ""), ("good", good, ""))
    with pytest.warns(PluginWarning, match="The entry points of .* cannot be read"):
        assert METHODS.names()[-1] == "good"


def test_a_real_interrupt_is_no_fault_of_a_package(install):
    install(("bad", "[bnnbench.methods]\nbad = module_bad:entry\n", "raise KeyboardInterrupt"))
    with pytest.raises(KeyboardInterrupt):
        METHODS.names()


def test_the_command_line_shows_sentences(install, tmp_path):
    install(("bad", "[bnnbench.methods]\nbad = module_bad:entry\n", "raise SystemExit('bye\\nbye')"))
    line = f"run --methods constant --task toy-homoscedastic --budget smoke --threads 1 --db {tmp_path}/r.db"
    result = CliRunner().invoke(main, line.split())
    assert result.exit_code == 0, result.output
    warnings = [text for text in result.stderr.splitlines() if text.startswith("Warning: ")]
    assert warnings == [
        r"Warning: The method 'bad' (module_bad:entry) of the package bad is left out: SystemExit: bye\nbye"
        " (line 16 of module_bad.py, in <module>)."
    ]
    assert "1 ok now" in result.stdout


def test_a_metric_of_another_package_that_fails_takes_no_cell_with_it(install, tmp_path):
    code = """
@metric("wrong", kinds=("regression",), better=-1, unit="", summary="")
def wrong(c):
    raise ZeroDivisionError("by nothing")

@metric("odd", kinds=("regression",), better=-1, unit="", summary="")
def odd(c):
    return 5
"""
    install(("bad", "[bnnbench.metrics]\nw = module_bad:wrong\no = module_bad:odd\n", code))
    line = f"run --methods constant --task toy-homoscedastic --budget smoke --threads 1 --db {tmp_path}/r.db"
    result = CliRunner().invoke(main, line.split())
    assert result.exit_code == 0, result.output
    assert "1 ok now" in result.stdout
    said = "(ZeroDivisionError: by nothing (line 19 of module_bad.py, in wrong))"
    assert f"Warning: The metric 'wrong' is left out {said}; fix" in result.stderr
    assert result.stderr.count("Warning: The metric 'odd' is left out (AttributeError") == 1


def test_what_is_registered_by_hand_is_held_to_the_same(install):
    METHODS.names()
    with pytest.raises(UserError, match="The method 'map' is not registered: its name is registered twice"):
        METHODS.register(type("Other", (MAP,), {"name": "map"}))
    with pytest.raises(UserError, match="is not registered: 'uci' is a group of bnnbench's tasks"):
        TASKS.register(Task("uci", "regression", ("mine",), ("10fold",), loader=dict))
    with pytest.raises(UserError, match="no subclass"):
        METHODS.register(Task("new", "regression", ("mine",), ("10fold",), loader=dict))
    assert issubclass(METHODS.register(MAP), Method)  # the same twice is once


def test_a_task_registered_before_all_of_ours_is_none_of_ours():
    """In a process of its own, where ours are not known yet: its group stays free for a further task of the user."""
    code = """
        from bnnbench.tasks import TASKS, Task
        register = lambda name: TASKS.register(Task(name, "regression", ("mine",), ("fixed",), loader=dict))
        register("mine")
        TASKS.names()
        register("second")
        TASKS.remove("mine")
        register("mine")
        try:
            TASKS.register(Task("third", "regression", ("uci",), ("fixed",), loader=dict))
        except Exception as error:
            print(error)
    """
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert "'uci', which is a group of tasks of bnnbench" in done.stdout, done.stderr

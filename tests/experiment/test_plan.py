"""The plan: which cells, in which packs, and what is refused."""

from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest
from helpers import PACKED, make_cells
from helpers import TASKS as SYNTHETIC
from image_samples import pictures

from bnnbench.engine.packing import packs, structure
from bnnbench.errors import UserError
from bnnbench.experiment.plan import build_plan
from bnnbench.experiment.request import Request, configurations, parse_overrides
from bnnbench.methods import METHODS
from bnnbench.methods.map import MAP
from bnnbench.methods.sgld import SGLD
from bnnbench.tasks import TASKS, TestSetFamily
from bnnbench.tasks.budget import BUDGETS, budget_of

SMOKE = BUDGETS["smoke"]


def plan(methods="all", tasks="diabetes", settings=(), **options):
    """The plan of names with commas, or of lists that hold objects."""
    methods, tasks = (names.split(",") if isinstance(names, str) else names for names in (methods, tasks))
    return build_plan(Request(methods, tasks, SMOKE, settings=parse_overrides(settings), **options))


def test_all_methods_on_a_group():
    cells, warnings = plan(tasks="starter", seeds=2)
    practical = [m.name for m in METHODS if not {"references", "adapters"} & set(m.tags)]
    fitting = sum(t.kind in METHODS.get(name).supports for t in TASKS if "starter" in t.groups for name in practical)
    assert len(cells) == fitting * 10 * 2
    assert len({cell.record.fingerprint for cell in cells}) == len(cells)
    assert warnings == []


def test_names_and_groups_select_once_and_in_the_registrys_order():
    cells, _ = plan("sgld,map,map,optimisation", "toy-homoscedastic,toy")
    assert [m.name for m in METHODS if m.name in ("sgld", "map")] == list(
        dict.fromkeys(cell.method.name for cell in cells)
    )
    assert len(cells) == 2 * 3


def test_grid():
    cells, _ = plan("map", "toy-homoscedastic", settings=["map.lr=0.1,0.02", "map.early_stopping=true,false"])
    assert [(c.method.lr, c.method.early_stopping) for c in cells] == [
        (0.1, True), (0.1, False), (0.02, True), (0.02, False)
    ]  # fmt: skip
    assert [c.record.label for c in cells][:2] == ["lr=0.1", "lr=0.1,early_stopping=False"]
    assert len({c.record.fingerprint for c in cells}) == 4
    assert (
        plan("map", "toy-homoscedastic", settings=["map.lr=0.01"])[0][0].record
        == plan("map", "toy-homoscedastic")[0][0].record
    )  # a default, said or not, is the same cell


def test_the_key_is_that_of_task_split_and_seed():
    """Methods and their configurations share start and minibatches; splits and seeds do not."""
    keys = {}
    for cell in plan("map,sgld", "diabetes", seeds=2, settings=["map.lr=0.1,0.2"])[0]:
        keys.setdefault((cell.index, cell.seed), set()).add(tuple(cell.key.tolist()))
    assert all(len(found) == 1 for found in keys.values())
    assert len(set.union(*keys.values())) == 20


def test_a_method_too_dear_for_all_splits_runs_the_first(monkeypatch):
    """Diabetes has 442 rows; the methods beside it keep their ten splits."""
    monkeypatch.setattr(SGLD, "most_rows", 441)
    cells, _ = plan("map,sgld", "diabetes,toy-homoscedastic", seeds=2)
    found = {(c.task.name, c.method.name): [] for c in cells}
    for cell in cells:
        found[cell.task.name, cell.method.name].append((cell.seed, cell.index))
    assert found["diabetes", "sgld"] == [(0, 0), (1, 0)]
    assert len(found["diabetes", "map"]) == 20
    assert found["toy-homoscedastic", "sgld"] == [(0, 0), (1, 0)]
    monkeypatch.setattr(SGLD, "most_rows", 442)
    assert len(plan("sgld", "diabetes")[0]) == 10


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"methods": "bbp-gausian"}, r"There is no method 'bbp-gausian'; did you mean bbp-gaussian"),
        ({"methods": "map,zzzz"}, r"There is no method 'zzzz'; choose from .*bbp-gaussian.*variational"),
        ({"tasks": "diabetis"}, r"There is no task 'diabetis'; did you mean diabetes, images, digits\?"),
        ({"split_rule": "10-fold"}, r"There is no split rule '10-fold'; did you mean 10fold"),
        ({"split_rule": "gal"}, r"The task 'diabetes' has no split rule 'gal'; it has 10fold\."),
        ({"seeds": 0}, r"--seeds must be at least 1, not 0\."),
        ({"seeds": -3}, r"--seeds must be at least 1, not -3\."),
        ({"settings": ["map.lr"]}, r"--set takes method.param=value .* not 'map.lr'\."),
        ({"settings": ["lr=1"]}, r"--set takes method.param=value"),
        ({"settings": ["map.=1"]}, r"--set takes method.param=value"),
        ({"settings": ["map.lr="]}, r"--set takes method.param=value"),
        ({"settings": ["=1"]}, r"--set takes method.param=value"),
        ({"settings": ["mapp.lr=1"]}, r"There is no method 'mapp'; did you mean map\?"),
        ({"settings": ["map.lrr=1"]}, r"The method 'map' has no parameter 'lrr'; did you mean lr\?"),
        ({"settings": ["map.lr=fast"]}, r"map\.lr must be a number, not 'fast'\."),
        ({"settings": ["map.lr=-1"]}, r"map\.lr must be positive and finite, not -1\.0\."),
        ({"settings": ["map.lr=1,"]}, r"map\.lr must be a number, not ''\."),
        ({"methods": "sgld", "settings": ["map.lr=1"]}, r"--set names 'map', which this run does not hold"),
        ({"methods": ""}, r"There is no method ''"),
    ],
)
def test_refused(arguments, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        plan(**arguments)
    assert "\n" not in str(caught.value)


def test_families_that_an_image_task_lacks():
    sentence = r"No chosen task has the test sets rotation; choose --task mnist or mnist-lenet\."
    with pytest.raises(UserError, match=sentence):
        plan("map", "cifar10-sample-lenet,diabetes", test_sets=["rotation"])


def test_images_of_another_set_that_are_missing_stop_a_run_before_it_begins(tmp_path, monkeypatch):
    """MNIST is there, notMNIST is not."""
    monkeypatch.setitem(TASKS._entries, "mnist", replace(TASKS.get("mnist"), loader=partial(pictures, 28)))
    with pytest.raises(UserError, match="bnnbench data fetch notmnist"):
        plan("map", "mnist", test_sets=["notmnist"], root=tmp_path)
    ((cell,), _) = plan("map", "mnist", test_sets=["rotation"], root=tmp_path)
    assert cell.test_sets == ("rotation",)


def test_budgets():
    with pytest.raises(UserError, match=r"There is no budget 'ful'; did you mean full\?"):
        budget_of("ful")
    assert [b.steps for b in BUDGETS.values()] == sorted(b.steps for b in BUDGETS.values())
    assert all(0 < b.validation_checks <= b.steps for b in BUDGETS.values())


def test_a_pair_that_does_not_fit(monkeypatch):
    """Named it is an error, out of groups it is left out; with nothing left that is an error too."""

    class Classifier(MAP):
        name, supports, tags = "classifier", ("classification",), ("picky",)

    monkeypatch.setitem(METHODS._entries, "classifier", Classifier)
    with pytest.raises(UserError, match=r"'classifier' does not support regression, .* 'diabetes'; choose"):
        plan("classifier", "diabetes")
    with pytest.raises(UserError, match=r"This run holds no cell"):
        plan("picky", "diabetes")
    cells, _ = plan("picky,map", "starter")
    assert [(c.method.name, c.task.name) for c in cells[::10]] == [
        ("map", "diabetes"), ("map", "digits"), ("classifier", "digits")
    ]  # fmt: skip


def test_all_tasks_leave_out_what_is_missing(tmp_path):
    cells, warnings = plan("map", "all", root=tmp_path)
    absent = [task.name for task in TASKS if not task.present(tmp_path)]
    assert "housing" in absent
    fitting = {task.name for task in TASKS if task.kind in METHODS.get("map").supports}
    assert {cell.task.name for cell in cells} == fitting - set(absent)
    assert [warning.split(":")[0] for warning in warnings] == absent
    assert "`bnnbench data fetch housing`" in warnings[absent.index("housing")]


def test_packs_hold_equal_structure_and_do_not_depend_on_what_is_missing():
    cells = [c for m in (MAP(), MAP(0.1), MAP(0.1, False), SGLD(), SGLD(samples=7)) for c in make_cells(m)]
    limits = {structure(cell): 4 for cell in cells}
    made = packs(cells, limits)
    assert [len(pack) for pack in made] == [4, 2, 3, 3, 3]  # learning rates go together, other fields do not
    assert [cell for pack in made for cell in pack] == cells
    for pack in made:
        assert len({structure(cell) for cell in pack}) == 1
    kinds = [structure(pack[0]) for pack in made]
    assert all(a != b for a, b in pairwise(kinds[1:]))
    assert len({structure(make_cells("map", task)[0]) for task in SYNTHETIC}) == len(SYNTHETIC)


def test_configurations_without_a_grid_are_the_default():
    for cls in PACKED:
        assert configurations(cls, {}) == [cls()]


class Own(MAP):
    name, tags = "own", ("optimisation",)


MINE = replace(SYNTHETIC["heteroscedastic"], name="mine")


def test_all_stands_beside_names():
    practical = [m.name for m in METHODS if not {"references", "adapters"} & set(m.tags) and "regression" in m.supports]
    cells, _ = plan("all,hmc", "toy-homoscedastic")
    assert {cell.method.name for cell in cells} == {*practical, "hmc"}
    assert plan("all,map", "toy-homoscedastic") == plan("all", "toy-homoscedastic")


def test_all_tasks_and_one_that_must_be_there(tmp_path):
    with pytest.raises(UserError, match="housing"):
        plan("map", "all,housing", root=tmp_path / "empty")


def test_objects_run_beside_names():
    """An object has its own configuration; a name has the task's and the grid's."""
    cells, _ = plan(["sgld", MAP(0.1), MAP(0.1), "map"], "toy-homoscedastic", ["map.lr=0.2"])
    assert [cell.method for cell in cells] == [MAP(0.2), MAP(0.1), SGLD()]
    ((cell,), _) = plan([MAP()], "toy-homoscedastic")
    assert cell == plan("map", "toy-homoscedastic").cells[0]
    (cell, *more), _ = plan(["constant", Own(lr=0.1)], ["toy-homoscedastic", MINE])
    assert cell.method.name == "constant"
    assert [(c.task.name, c.method.name) for c in more] == [("toy-homoscedastic", "own")] + [
        ("mine", "constant")
    ] * 4 + [("mine", "own")] * 4
    assert more[0].record.label == "lr=0.1"
    assert TASKS.get("diabetes") in {c.task for c in plan("map", [TASKS.get("diabetes")]).cells}


def test_objects_that_cannot_be_taken():
    class Other(MAP):
        name = "map"

    class Twin(Own):
        pass

    class Group(MAP):
        name, tags = "sampling", ()

    for methods, tasks, sentence in [
        ([Other()], "diabetes", r"'map' cannot be taken: another method of this name is registered; rename it\."),
        ([Group()], "diabetes", r"'sampling' cannot be taken: its name is that of a group of methods"),
        ([Own(), Twin()], "diabetes", r"Two methods are named 'own'; rename one of the two\."),
        ([Own(lr=-1.0)], "diabetes", r"own\.lr must be positive"),
        ([Own(lr="fast")], "diabetes", r"own\.lr must be a number, not 'fast'\."),
        ([Own()], "digits,moons", r"'own' does not support density"),
        (
            "map",
            [replace(MINE, name="diabetes")],
            r"'diabetes' cannot be taken: another task of this name is registered",
        ),
        ("map", [MINE, replace(MINE, hidden=(3,))], r"Two tasks are named 'mine'; rename one of the two\."),
    ]:
        with pytest.raises(UserError, match=sentence):
            plan(methods, tasks)
    with pytest.raises(UserError, match=r"--set names 'map', which this run does not hold by its name; objects have"):
        plan([MAP(0.1)], "diabetes", ["map.lr=0.2"])


def test_families_among_the_tasks():
    """Where they once stood: the answer is the command of today."""
    for tasks, sentence in [
        ("rotation", "rotation is a family of test sets: use --task mnist --test-sets rotation."),
        ("mnist-lenet,shift", "shift is a group of test sets: use --task mnist-lenet --test-sets shift."),
        ("fgsm,all,pgd", "fgsm, pgd are families of test sets: use --task all --test-sets fgsm,pgd."),
    ]:
        with pytest.raises(UserError) as caught:
            plan("map", tasks)
        assert str(caught.value) == sentence


def test_unknown_families():
    with pytest.raises(UserError, match=r"There is no family of test sets 'rotatoin'; did you mean rotation\?"):
        plan("map", "diabetes", test_sets=["rotatoin"])


def test_families_of_tasks_of_all_kinds(monkeypatch):
    """A family is an object that a task has; the plan asks for nothing else."""

    class Noisy(TestSetFamily):
        def make(self, test, other, exhaustive):
            return {"noisy": test._replace(x=test.x + 1, out_of_distribution=False)}

    noisy = replace(MINE, test_set_families=(Noisy("noisy", ("odd",)), Noisy("dear", optional=True)))

    def test_sets(*names, **options):
        cells, warnings = plan("constant", ["diabetes", noisy], test_sets=names, **options)
        return {cell.task.name: cell.test_sets for cell in cells}, warnings

    said = ["diabetes: has no test sets {}, scored without them."]
    assert test_sets("odd") == ({"diabetes": (), "mine": ("noisy",)}, [said[0].format("noisy")])
    assert test_sets("all")[0]["mine"] == ("noisy",)
    assert test_sets("all", "dear")[0]["mine"] == ("noisy", "dear")
    assert test_sets("noisy", exhaustive=True)[0]["mine"] == ("noisy-all",)
    assert test_sets()[0] == {"diabetes": (), "mine": ()}
    (plain,), (more,) = (plan("constant", [noisy], splits=[0], test_sets=t).cells for t in ((), ("odd",)))
    assert (plain, plain.record) == (more, more.record)  # what is scored is no part of a cell's identity

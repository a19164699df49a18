"""Programs: which packs they serve."""

from dataclasses import replace

import pytest
import torch
from helpers import BUDGET, CPU, make_cells, make_pack

from bnnbench.engine import compile
from bnnbench.engine.cell import Cell, default
from bnnbench.engine.compile import COMPILED_FROM, TRACED_FROM, is_compiled, program
from bnnbench.engine.pack import stack
from bnnbench.engine.step import initial_state, make_step
from bnnbench.methods import METHODS
from bnnbench.tasks import TASKS, Task


def arguments(pack):
    problem, live = pack.problem, torch.ones(len(pack.cells), dtype=torch.bool)
    return pack.floats, problem.table, problem.rows, initial_state(pack), live, pack.keys, problem.t


def programs(method, tasks):
    """Those of one network each on tables of several widths."""
    budget, found = replace(BUDGET, steps=TRACED_FROM), []
    for task in map(TASKS.get, tasks):
        pack = stack([Cell(task, default(METHODS.get(method), task), task.rules[0], 0, 0, budget)], CPU)
        with torch.no_grad():
            step, given = make_step(pack), arguments(pack)
            found.append(program(pack, step, given, compiled=False))
            torch.testing.assert_close(found[-1](*given), step(*given), rtol=0, atol=0)
    return found


@pytest.mark.parametrize("method", ["map", "bbp-gaussian", "sgld"])
@pytest.mark.usefixtures("data_root")
def test_one_program_serves_tables_of_all_widths_and_lengths(method, monkeypatch):
    monkeypatch.setattr(compile, "_programs", {})
    first, *others = programs(method, ["yacht", "power", "housing"])
    assert all(other is first for other in others)


@pytest.mark.slow
@pytest.mark.usefixtures("data_root")
def test_a_step_that_knows_its_width_gets_a_program_for_each(monkeypatch):
    monkeypatch.setattr(compile, "_programs", {})
    first, second = programs("mnf-planar", ["yacht", "power"])
    assert first is not second


def test_buffers_are_a_part_of_what_is_fixed(monkeypatch):
    """A trace takes them as given: networks that differ in theirs alone share no program."""
    plain = Task.network

    def shifted(self, rule, shape, outputs):
        network = plain(self, rule, shape, outputs)
        network.register_buffer("shift", torch.full((1,), float(shift)))
        network.register_forward_hook(lambda module, inputs, output: output + module.shift)
        return network

    monkeypatch.setattr(Task, "network", shifted)
    for shift in (0, 1):  # noqa: B007 - `shifted` reads it
        pack = make_pack(make_cells("map", "heteroscedastic", [0], replace(BUDGET, steps=TRACED_FROM)))
        with torch.no_grad():
            step, given = make_step(pack), arguments(pack)
            traced = program(pack, step, given, compiled=False)
            torch.testing.assert_close(traced(*given), step(*given), rtol=0, atol=0)


def test_the_number_of_steps_decides(monkeypatch):
    monkeypatch.setattr(compile, "can_compile", lambda device: True)
    few, many = (replace(BUDGET, steps=steps) for steps in (COMPILED_FROM - 1, COMPILED_FROM))
    assert [is_compiled(make_cells("map", "heteroscedastic", [0], b)[0], CPU) for b in (few, many)] == [False, True]
    pack = make_pack(make_cells("map", "heteroscedastic", [0], BUDGET))
    step = make_step(pack)
    assert program(pack, step, arguments(pack), compiled=False) is step

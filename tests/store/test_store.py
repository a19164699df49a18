"""Writing results and reading them back."""

import math

import numpy as np
import pandas as pd
import pytest
from store_samples import METHODS, METRICS, TASKS, make_cell, make_outcome, prepared

from bnnbench.errors import UserError
from bnnbench.records import EvaluationRecord, MethodRecord, Score, Status
from bnnbench.store.store import ResultStore

LEADING = ["task", "method", "config", "split", "seed", "budget", "evaluation", "metric", "value", "stderr", "status"]


def test_scores_round_trip_bit_for_bit_with_nan_and_infinities(store, session):
    values = [0.1 + 0.2, math.nan, math.inf, -math.inf, 5e-324, np.float32(0.1)]
    scores = tuple(Score(f"m{i}", value, None if i else 0.25) for i, value in enumerate(values))
    store.record(session, [make_outcome(make_cell(), evaluations=(EvaluationRecord("test", np.int64(7), scores),))])
    frame = store.scores()
    assert list(frame.columns[:11]) == LEADING
    np.testing.assert_array_equal(frame["value"], [float(value) for value in values])
    np.testing.assert_array_equal(frame["stderr"], [0.25] + [math.nan] * 5)
    assert set(frame["n"]) == {7}


def test_order_depends_on_content_and_counts_splits(store, session):
    outcomes = [make_outcome(make_cell(i, seed=s)) for i in (10, 2, 0) for s in (1, 0)]
    store.record(session, outcomes)
    frame = store.scores(metric="rmse")
    assert list(zip(frame["split"], frame["seed"], strict=True)) == [
        (f"10fold-{i}", s) for i in (0, 2, 10) for s in (0, 1)
    ]


@pytest.mark.parametrize("rows", [1, 3])
def test_frames_read_in_parts_are_those_read_at_once(store, session, monkeypatch, rows):
    lost = [make_outcome(make_cell(i), status=Status.DIVERGED, message="NaN at step 3") for i in range(4)]
    store.record(session, [*lost, *(make_outcome(make_cell(4 + i), step_kept=None if i else 7) for i in range(4))])
    whole = store.scores(), store.attempts(), store.sessions(), store.running()
    monkeypatch.setattr("bnnbench.store.reading._ROWS", rows)
    for one, other in zip(whole, (store.scores(), store.attempts(), store.sessions(), store.running()), strict=True):
        pd.testing.assert_frame_equal(one, other)


def test_order_of_writing_leaves_no_trace(tmp_path):
    frames = []
    for name, indices in (("a.db", range(4)), ("b.db", reversed(range(4)))):
        store, session = prepared(tmp_path / name)
        with store:
            for index in indices:
                store.record(session, [make_outcome(make_cell(index))])
            frames.append(store.scores())
    pd.testing.assert_frame_equal(*frames)


def test_a_cell_without_scores_is_a_row_whatever_evaluation_is_wanted(store, session):
    store.record(
        session,
        [make_outcome(make_cell(0)), make_outcome(make_cell(1), status=Status.DIVERGED, message="NaN at step 3")],
    )
    frame = store.scores(evaluation="test", metric=["rmse"])
    assert frame[["evaluation", "metric", "status"]].values.tolist() == [["test", "rmse", "ok"], ["", "", "diverged"]]
    assert math.isnan(frame["value"].iloc[1])
    assert store.attempts(status=Status.DIVERGED)["message"].tolist() == ["NaN at step 3"]


def test_evaluation_without_scores_adds_no_row_but_keeps_its_curves(store, session):
    grid = EvaluationRecord("grid", 3, (), {"band": {"x": [1, 2, 3], "mean": [0.1, math.nan, -math.inf]}})
    plain = make_outcome(make_cell())
    store.record(session, [make_outcome(make_cell(), evaluations=(*plain.evaluations, grid))])
    assert set(store.scores()["evaluation"]) == {"test"}
    [(cell, evaluation, band)] = store.curves("band")
    assert (cell["split"], cell["fingerprint"], evaluation) == ("10fold-0", make_cell().fingerprint, "grid")
    assert band["x"].dtype.kind == "i"
    np.testing.assert_array_equal(band["mean"], [0.1, math.nan, -math.inf])


def test_curves_hold_every_digit_and_training_ones_no_evaluation(store, session):
    loss = {"step": np.arange(3), "loss": np.array([1 / 3, 1e-30 / 3, 123456789.0]), "empty_is_fine": np.zeros(3)}
    store.record(session, [make_outcome(make_cell(), curves={"training": loss})])
    [(_, evaluation, series)] = store.curves("training", method="bbp")
    assert evaluation is None
    np.testing.assert_array_equal(series["loss"], loss["loss"])
    assert series["step"].dtype.kind == "i"
    assert store.curves("training", method="mcd") == []
    for bad in ({"a": [1.0], "b": [1.0, 2.0]}, {"a": [[1.0]]}, {"a": ["x"]}):
        with pytest.raises(ValueError, match="Columns"):
            store.record(session, [make_outcome(make_cell(1), curves={"training": bad})])


def test_a_repeated_record_doubles_nothing(store, session):
    outcomes = [make_outcome(make_cell(i)) for i in range(3)]
    assert store.record(session, outcomes) == 3
    before = store.scores(), store.attempts()
    assert store.record(session, [make_outcome(make_cell(i), value=9.0) for i in range(3)]) == 0
    assert store.record(session, [*outcomes, make_outcome(make_cell(3)), make_outcome(make_cell(3))]) == 1
    pd.testing.assert_frame_equal(store.scores(split=[f"10fold-{i}" for i in range(3)]), before[0])
    assert len(store.attempts()) == 4


def test_failed_is_tried_again_and_finished_is_not(store, session):
    cells = [make_cell(i) for i, _ in enumerate(Status)]
    store.record(session, [make_outcome(c, status=s) for c, s in zip(cells, Status, strict=True)])
    failed = cells[list(Status).index(Status.FAILED)]
    assert store.missing([*cells, *cells]) == [failed]
    assert store.missing(cells, force=True) == cells
    assert store.record(session, [make_outcome(failed)]) == 1
    assert store.missing(cells) == []
    assert store.scores(fingerprint=failed.fingerprint)["status"].unique().tolist() == ["ok"]


def test_a_forced_attempt_becomes_the_current_one(store, session):
    store.record(session, [make_outcome(make_cell(), value=1.0)])
    assert store.record(session, [make_outcome(make_cell(), value=2.0)], force=True) == 1
    assert store.scores(metric="rmse")["value"].tolist() == [2.0]
    assert len(store.attempts()) == 1
    assert len(store.curves("pit")) == 1


def test_versions_are_never_mixed(store, session):
    store.record(session, [make_outcome(make_cell(), value=1.0)])
    store.register(methods=[MethodRecord("bbp", 2, "Blundell 2015", (), 0)])
    store.record(session, [make_outcome(make_cell(method_version=2), value=2.0)])
    assert store.scores(metric="rmse")["value"].tolist() == [2.0]
    both = store.scores(metric="rmse", latest_only=False)
    assert both[["method_version", "value"]].values.tolist() == [[1, 1.0], [2, 2.0]]
    assert store.methods(latest_only=False)[["name", "version", "current"]].values.tolist() == [
        ["bbp", 1, False], ["bbp", 2, True], ["mcd", 2, True],
    ]  # fmt: skip
    store.register(methods=METHODS)  # an older bnnbench again: what it registers is current
    assert store.scores(metric="rmse")["value"].tolist() == [1.0]


def test_a_default_that_changed_supersedes_what_had_its_label(store, session):
    """The same label, another configuration: the last attempt counts, whichever it is; other labels stay."""
    old, new = make_cell(config='{"lr": 1}'), make_cell(config='{"lr": 2}')
    other = make_cell(config='{"lr": 3}', label="lr=3")
    store.record(session, [make_outcome(old, 1.0), make_outcome(other, 3.0), make_outcome(make_cell(1), 4.0)])
    store.record(session, [make_outcome(new, 2.0)])
    assert sorted(store.scores(metric="rmse")["value"]) == [2.0, 3.0, 4.0]
    assert len(store.attempts()) == len(store.curves("pit")) == 3
    assert sorted(store.scores(metric="rmse", latest_only=False)["value"]) == [1.0, 2.0, 3.0, 4.0]
    store.record(session, [make_outcome(old, 1.5)], force=True)
    assert sorted(store.scores(metric="rmse")["value"]) == [1.5, 3.0, 4.0]


def test_definitions_round_trip_and_refresh(store):
    assert store.tasks()["groups"].tolist() == [["uci"]]
    assert store.tasks()["notes"].tolist() == [["240 duplicates"]]
    assert store.methods()["tags"].tolist() == [["vi"], ["vi", "cheap"]]
    assert store.sessions()["versions"].tolist() == [{"torch": "2.11"}]
    store.register(METHODS[:1], [], [])
    store.register([MethodRecord("bbp", 1, "Graves 2011", (), 5)])
    assert store.methods()[["name", "citation", "order"]].values.tolist() == [
        ["mcd", "Gal 2016", 1], ["bbp", "Graves 2011", 5],
    ]  # fmt: skip
    assert store.metrics().to_dict("records") == [{**vars(m), "kinds": list(m.kinds)} for m in METRICS]


def test_unregistered_names(store, session):
    with pytest.raises(ValueError, match="register"):
        store.record(session, [make_outcome(make_cell(method="new"))])
    new = EvaluationRecord("test", 1, (Score("a_new_metric", 1.0, None),))
    store.record(session, [make_outcome(make_cell(), evaluations=(new,))])
    assert "a_new_metric" in set(store.metrics()["name"])


def test_a_new_evaluation_joins_the_current_attempt(store, session):
    store.record(session, [make_outcome(make_cell())])
    shifted = EvaluationRecord("rotation-090", 160, (Score("rmse", 3.0, None),), {"pit": {"x": [1.0]}})
    assert store.add_evaluations(make_cell().fingerprint, [shifted, *make_outcome(make_cell(), 9.0).evaluations]) == 1
    assert store.evaluated([make_cell().fingerprint, make_cell(1).fingerprint]) == {
        make_cell().fingerprint: {"test", "rotation-090"}
    }
    assert store.scores(metric="rmse")["value"].tolist() == [3.0, 0.5]
    assert [evaluation for _, evaluation, _ in store.curves("pit")] == ["rotation-090", "test"]


def test_find(store, session):
    cells = [make_cell(i) for i in range(40)]
    store.record(session, [make_outcome(cell, status=Status.TIMEOUT) for cell in cells[:30]])
    store.claim(cells[30:], "elsewhere:1:1")
    info = store.find(cells[7].fingerprint[:10].upper())
    assert (info["split"], info["status"], info["artifacts"]) == ("10fold-7", "timeout", [])
    assert store.find(cells[35].fingerprint)["status"] is None
    digits = [cell.fingerprint[0] for cell in cells]
    with pytest.raises(UserError, match=r"Several cells begin .* Give more digits"):
        store.find(max(digits, key=digits.count))
    with pytest.raises(UserError, match=rf"no cell .* nearest are .*{cells[3].fingerprint[:12]}"):
        store.find(cells[3].fingerprint[:9] + "zz")


def test_filters(store, session):
    store.record(session, [make_outcome(make_cell(i, seed=s)) for i in range(3) for s in range(2)])
    assert len(store.attempts(split="10fold-1")) == 2
    assert len(store.attempts(rule="10fold", seed=[0, 5], method=None)) == 3
    assert store.scores(task="yacht").empty
    assert list(store.scores(task="yacht").columns[:11]) == LEADING
    with pytest.raises(UserError, match="no filter 'taks'"):
        store.scores(taks="wine")


def test_ten_thousand_cells_are_looked_up_at_once(store, session):
    cells = [make_cell(i) for i in range(10_000)]
    store.record(session, [make_outcome(cell, status=Status.TIMEOUT) for cell in cells[::100]])
    assert len(store.missing(cells)) == 9_900


def test_read_only_reads_and_refuses_to_write(path):
    store, session = prepared(path)
    with store:
        store.record(session, [make_outcome(make_cell())])
        with ResultStore(path, read_only=True) as reader:  # beside a writer
            assert len(reader.scores()) == 2
            with pytest.raises(RuntimeError, match="reading only"):
                reader.register(METHODS, TASKS)

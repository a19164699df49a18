"""Trials of hyperparameters: nested, apart from results, and what is best on a split's validation rows is run."""

import json
import sqlite3
from contextlib import closing

import pytest
from click.testing import CliRunner

import bnnbench
from bnnbench.cli import main
from bnnbench.errors import UserError
from bnnbench.experiment.trials import Trial, best

SMALL = {"budget": "smoke", "threads": 1, "jobs": 1}
SPLITS = "0,1,2"
ELEVEN = "map,mc-dropout,bbp-local,ivon,vbll,swag,laplace-kron,sgld,psgld,sghmc,csgmcmc"


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """Trials of two methods, and a run of the best."""
    folder = tmp_path_factory.mktemp("tuned")
    trials, results = folder / "tune.db", folder / "results.db"
    summary = bnnbench.tune("constant,map", "diabetes", trials=6, splits=SPLITS, db=trials, **SMALL)
    assert (summary.cells, summary.missing) == (3 * 6 + 3, 3 * 6 + 3)  # the constant has nothing to be tuned
    bnnbench.run("constant,map", "diabetes", splits=SPLITS, db=results, tuned=trials, **SMALL)
    return trials, results


def rows(path, query):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


SCORES = """
    SELECT cell.split_index, cell.label, cell.config, score.value FROM cell
    JOIN method ON method.id = method_id JOIN attempt ON cell_id = cell.id JOIN evaluation ON attempt_id = attempt.id
    JOIN score ON evaluation_id = evaluation.id JOIN metric ON metric.id = metric_id
    WHERE metric.name = 'log_likelihood' AND evaluation.name = '{}' AND method.name = 'map'
"""


def test_every_split_gets_what_is_best_on_its_own_validation_rows(tuned):
    trials, results = tuned
    validated = rows(trials, SCORES.format("validation"))
    assert len(validated) == 18
    ran = rows(results, SCORES.format("validation"))
    for split, label, config, value in ran:
        own = [line for line in validated if line[0] == split]
        assert label == "tuned-6"
        assert json.loads(config) == json.loads(max(own, key=lambda line: line[3])[2])
        assert value == pytest.approx(max(line[3] for line in own), rel=1e-6)  # the same numbers as its trial had
    assert len({config for *_, config, _ in ran}) > 1  # else nothing here depends on the split


def test_trials_are_the_same_on_every_split_and_begin_with_the_defaults(tuned):
    found = rows(tuned[0], "SELECT split_index, label, config FROM cell JOIN method ON method.id = method_id "
                           "WHERE name = 'map'")  # fmt: skip
    by_split = {split: sorted((label, config) for s, label, config in found if s == split) for split in (0, 1, 2)}
    assert by_split[0] == by_split[1] == by_split[2]
    assert [label for label, _ in by_split[0]] == [f"qmc-{n:02d}" for n in range(6)]
    assert json.loads(by_split[0][0][1]) == {"early_stopping": True, "lr": 0.01, "prior_scale": 1.0}


def test_trials_are_no_results(tuned, tmp_path):
    trials, results = tuned
    assert bnnbench.scores(trials).empty
    both = tmp_path / "both.db"
    bnnbench.merge([trials, results], both)
    assert set(bnnbench.scores(both).config) == {"tuned-6", "tuned-1"}
    assert len(bnnbench.scores(both, purpose="tune", evaluation="test", metric="rmse")) == 21
    with pytest.raises(UserError, match="holds trials of hyperparameters alone"):
        bnnbench.report(trials, tmp_path / "out")


def test_trials_keep_scores_alone(tuned):
    assert rows(tuned[0], "SELECT count(*) FROM artifact") == [(0,)]
    assert rows(tuned[0], "SELECT count(*) FROM curve") == [(0,)]
    assert rows(tuned[1], "SELECT count(*) FROM artifact")[0][0] > 0


def test_finished_trials_are_not_run_again_and_more_go_on(tuned, tmp_path):
    path = tmp_path / "more.db"
    path.write_bytes(tuned[0].read_bytes())
    assert bnnbench.tune("map", "diabetes", trials=6, splits=SPLITS, db=path, **SMALL).missing == 0
    more = bnnbench.tune("map", "diabetes", trials=8, splits=SPLITS, db=path, **SMALL)
    assert (more.cells, more.missing) == (24, 6)


def test_the_default_chosen_by_trials_is_another_cell_than_the_default(tmp_path):
    """Else one of the two rows would lack a split."""
    trials, results = tmp_path / "tune.db", tmp_path / "results.db"
    bnnbench.tune("map", "diabetes", trials=1, splits="0", db=trials, **SMALL)
    for options in ({}, {"tuned": trials}):
        assert bnnbench.run("map", "diabetes", splits="0", db=results, **SMALL, **options).missing == 1
    assert set(bnnbench.scores(results).config) == {"default", "tuned-1"}


def test_rounds_of_tpe_repeat(tmp_path):
    configs = []
    for name in ("a", "b"):
        path = tmp_path / f"{name}.db"
        summary = bnnbench.tune("map", "diabetes", trials=10, sampler="tpe", splits="0,1", db=path, **SMALL)
        assert (summary.cells, summary.missing) == (20, 20)
        configs.append(rows(path, "SELECT split_index, label, config FROM cell ORDER BY 1, 2"))
    assert configs[0] == configs[1]
    assert [config for *_, config in configs[0][:4]] == [config for *_, config in configs[0][10:14]]


def test_flagged_trials_come_after_all_others():
    trials = [Trial(0, {}, 1.0, False), Trial(1, {}, 2.0, True), Trial(2, {}, None, False), Trial(3, {}, 1.0, False)]
    assert best(trials) == trials[0]
    assert best(trials[1:3]) == trials[1]
    assert best(trials[2:3]) is None


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("tune --methods map --task diabetes --sampler grid", "--sampler must be qmc or tpe, not 'grid'."),
        ("tune --methods map --task diabetes --trials 0", "--trials must be"),
        ("tune --methods map --task diabetes --set map.lr=0.1,0.2",
         "bnnbench tune takes one configuration of map on diabetes, not 2"),
        (f"tune --methods {ELEVEN} --task diabetes --trials 10000",
         "10000 trials of 110 cells are more than 1,000,000"),
        ("run --methods map --task diabetes --tuned none.db --set map.lr=0.1", "--tuned chooses the configurations"),
        ("run --methods map --task diabetes --tuned none.db", "There is no database none.db with trials"),
        ("list tasks --space", "--space is of methods, not of tasks"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(line, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, [*line.split(), *(["--dry-run"] if line.startswith("tune") else [])])
    assert result.exit_code == 2, result.output
    assert sentence in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_methods_without_trials_are_left_out_with_a_warning(tuned, tmp_path):
    options = {"splits": SPLITS, "tuned": tuned[0], "db": tmp_path / "r.db", **SMALL}
    with pytest.raises(UserError, match="holds no trials of what is to be run"):
        bnnbench.run("sgld", "diabetes", **options)
    summary = bnnbench.run("map,sgld", "diabetes", **options)
    assert summary.cells == 3
    assert any("sgld on diabetes: skipped. One of its splits has no trials." in text for text in summary.warnings)


def test_status_and_listing_tell_of_trials(tuned):
    shown = CliRunner().invoke(main, ["status", "--db", str(tuned[0])]).stdout
    (line,) = [line.split() for line in shown.splitlines() if "map" in line]
    assert line[:4] == ["diabetes", "map", "trials", "smoke"]
    spaces = CliRunner().invoke(main, ["list", "methods", "--space"]).stdout
    assert any(line.split()[:3] == ["map", "lr", "0.01"] for line in spaces.splitlines())


def test_what_is_set_is_not_tuned(tmp_path):
    path = tmp_path / "t.db"
    bnnbench.tune("map", "diabetes", trials=4, splits="0", settings="map.prior_scale=3", db=path, **SMALL)
    found = [json.loads(config) for (config,) in rows(path, "SELECT config FROM cell")]
    assert {each["prior_scale"] for each in found} == {3.0}
    assert len({each["lr"] for each in found}) == 4


def test_trials_are_written_as_studies_of_optuna(tmp_path):
    import optuna

    path = tmp_path / "t.db"
    for _ in range(2):  # the second time replaces the file
        bnnbench.tune("map", "diabetes", trials=4, splits="0,1", db=path, export="optuna", **SMALL)
    place = f"sqlite:///{tmp_path}/t.optuna.db"
    names = sorted(optuna.get_all_study_names(place))
    assert names == ["diabetes map 10fold-0 smoke", "diabetes map 10fold-1 smoke"]
    study = optuna.load_study(study_name=names[0], storage=place)
    wanted = max(rows(path, SCORES.format("validation")), key=lambda line: (line[0] == 0, line[3]))
    assert study.best_value == wanted[3]
    assert study.best_params["lr"] == json.loads(wanted[2])["lr"]
    options = {"settings": "map.lr=0.5", "export": "optuna", "db": tmp_path / "s.db", **SMALL}  # beyond its range
    bnnbench.tune("map", "diabetes", trials=2, splits="0", **options)
    place = f"sqlite:///{tmp_path}/s.optuna.db"
    assert set(optuna.load_study(study_name=None, storage=place).best_params) == {"prior_scale"}


def test_what_trials_chose_is_submitted_and_scored_again(tmp_path):
    trials, results = tmp_path / "tune.db", tmp_path / "results.db"
    bnnbench.tune("map", "diabetes", trials=3, db=trials, **SMALL)
    bnnbench.run("map", "diabetes", db=results, tuned=trials, **SMALL)
    assert len({config for (config,) in rows(results, "SELECT config FROM cell")}) > 1
    bnnbench.submit(results, tmp_path / "mine.zip")
    bnnbench.merge([tmp_path / "mine.zip"], tmp_path / "all.db")
    assert set(bnnbench.scores(tmp_path / "all.db").config) == {"tuned-3"}
    assert bnnbench.rescore(results, calibrate="temperature").cells == 10


def test_unequal_trials_are_told_and_left_out(tuned, tmp_path):
    """Else one row would be torn in two."""
    path = tmp_path / "t.db"
    path.write_bytes(tuned[0].read_bytes())
    bnnbench.tune("map", "diabetes", trials=8, splits="0", db=path, **SMALL)
    summary = bnnbench.run("constant,map", "diabetes", splits=SPLITS, db=tmp_path / "r.db", tuned=path, **SMALL)
    assert summary.cells == 3
    assert any("map on diabetes: skipped. Its splits have no equal number of trials" in w for w in summary.warnings)


def test_trials_of_several_kinds_are_told_apart(tuned, tmp_path):
    path = tmp_path / "t.db"
    path.write_bytes(tuned[0].read_bytes())
    assert bnnbench.tune("map", "diabetes", trials=6, sampler="tpe", splits=SPLITS, db=path, **SMALL).missing == 18
    assert bnnbench.tune("map", "diabetes", trials=6, splits=SPLITS, db=path, **SMALL).missing == 0
    with pytest.raises(UserError, match="holds no trials"):
        bnnbench.run("map", "diabetes", splits=SPLITS, db=tmp_path / "r.db", tuned=path, **SMALL)


def test_all_seeds_take_the_choice(tuned, tmp_path):
    bnnbench.run("map", "diabetes", splits=SPLITS, seeds=2, db=tmp_path / "r.db", tuned=tuned[0], **SMALL)
    found = rows(tmp_path / "r.db", "SELECT split_index, seed, config FROM cell ORDER BY 1, 2")
    assert [config for _, seed, config in found if seed == 0] == [config for _, seed, config in found if seed == 1]


def test_a_failed_trial_keeps_its_number(tmp_path, monkeypatch):
    """And is tried again; what was drawn after it stays."""
    from bnnbench.methods.map import MAP

    path, update, failing = tmp_path / "t.db", MAP.init, [True]

    def init(self, key, problem):
        if failing[0] and self.prior_scale > 5:
            raise RuntimeError("no luck")
        return update(self, key, problem)

    monkeypatch.setattr(MAP, "init", init)
    options = {"trials": 12, "sampler": "tpe", "splits": "0", "db": path, **SMALL}
    first = bnnbench.tune("map", "diabetes", **options)
    failed = first.statuses.get("failed", 0)
    assert (first.cells, failed > 0) == (12, True)
    labels = rows(path, "SELECT label, config FROM cell ORDER BY 1")
    assert [label for label, _ in labels] == [f"tpe-{n:02d}" for n in range(12)]
    assert bnnbench.tune("map", "diabetes", **options).missing == failed
    assert rows(path, "SELECT label, config FROM cell ORDER BY 1") == labels


def test_two_configurations_of_a_method_are_refused(tuned, tmp_path):
    from bnnbench.methods.map import MAP

    with pytest.raises(UserError, match="takes one configuration of map on diabetes, not 2"):
        bnnbench.tune([MAP(), MAP(lr=0.05)], "diabetes", db=tmp_path / "t.db", **SMALL)
    with pytest.raises(UserError, match="outside of where it is tuned"):
        bnnbench.tune(MAP(lr=0.5), "diabetes", db=tmp_path / "t.db", **SMALL)
    with pytest.raises(UserError, match="chooses the configurations itself"):
        bnnbench.run(MAP(), "diabetes", db=tmp_path / "r.db", tuned=tuned[0], **SMALL)

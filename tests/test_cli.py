"""The command line: every bad input in one sentence and without a trace, and a small run from beginning to end."""

import errno
import json
import os
import re
import shlex
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
from io import StringIO
from pathlib import Path

import click
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from bnnbench.cli import main
from bnnbench.methods import METHODS
from bnnbench.methods.map import MAP
from bnnbench.store import sqlite

SMALL = "run --methods constant,map,sgld --task toy-homoscedastic,toy-antoran --budget smoke --threads 1 --device cpu"


def invoke(line: str, **options):
    return CliRunner().invoke(main, shlex.split(line), **options)


def succeed(line: str) -> str:
    result = invoke(line)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def refuse(line: str, **options) -> str:
    """The one sentence with which a command ends with status 2."""
    result = invoke(line, **options)
    assert result.exit_code == 2, (result.output, result.exception)
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    sentence = result.stderr.strip()
    assert "Traceback" not in sentence
    _, error, sentence = sentence.rpartition("Error: ")
    assert error
    assert "\n" not in sentence
    assert sentence.endswith((".", "?"))
    return sentence


def files(folder: Path) -> dict[str, bytes]:
    """Contents by path; of a database without its header, where SQLite counts who opened it."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: content[100:] if content.startswith(b"SQLite") else content for name, content in found.items()}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty working directory; relative paths of these tests are meant in it."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    torch.set_num_threads(1)  # a run without --threads takes all cores, for good


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with the database of a small run, and what the run said."""
    folder = tmp_path_factory.mktemp("made")
    result = invoke(f"{SMALL} --db {folder}/results.db")
    assert result.exit_code == 0, (result.output, result.exception)
    return folder, result


@pytest.fixture
def db(made, here):
    shutil.copytree(made[0], here, dirs_exist_ok=True)
    return here / "results.db"


# Bad input


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--methods bbp-gausian", "There is no method 'bbp-gausian'; did you mean bbp-gaussian"),
        ("--task hosing", "There is no task 'hosing'; did you mean housing"),
        ("--budget quik", "There is no budget 'quik'; did you mean quick?"),
        ("--split-rule 10folds", "There is no split rule '10folds'; did you mean 10fold"),
        ("--task diabetes --split-rule gap", "The task 'diabetes' has no split rule 'gap'; it has 10fold."),
        ("--methods classifier --task diabetes", "'classifier' does not support regression, the kind of"),
        ("--set map.rate=1", "The method 'map' has no parameter 'rate'"),
        ("--set map.lr=quick", "map.lr must be a number, not 'quick'."),
        ("--set ensemble-deep.members=2.5", "ensemble-deep.members must be a whole number, not '2.5'."),
        ("--set map.lr=0", "map.lr must be positive"),
        ("--set mc-dropout.rate=1", "mc-dropout.rate must lie in [0, 1)"),
        ("--set map", "--set takes method.param=value"),
        ("--set mop.lr=1", "There is no method 'mop'; did you mean map"),
        ("--methods map --set sgld.lr=1", "--set names 'sgld', which this run does not hold"),
        ("--splits 0,x", "--splits takes whole numbers with commas, like 0,1, not '0,x'."),
        ("--splits 10folds", "--splits takes whole numbers with commas, like 0,1, not '10folds'."),
        ("--splits gap --split-rule gap", "--splits gap is a split rule, and so is --split-rule gap; give one."),
        ("--splits 0 --folds 0", "--folds is the former name of --splits, and both are given; leave out --folds."),
        ("--splits 1", "The task 'toy-homoscedastic' has splits 0 to 0 under 'fixed', no 1."),
        ("--task diabetes --splits 0,10", "The task 'diabetes' has splits 0 to 9 under '10fold', no 10."),
        ("--splits=-1", "has splits 0 to 0 under 'fixed', no -1."),
        ("--task rotation", "rotation is a family of test sets: use --task mnist --test-sets rotation."),
        ("--test-sets rotation", "No chosen task has the test sets rotation; choose --task mnist or mnist-lenet."),
        ("--test-sets kmnits", "There is no family of test sets 'kmnits'; did you mean kmnist"),
        ("--seeds 0", "--seeds must be at least 1, not 0."),
        ("--seeds many", "'many' is not a valid integer."),
        ("--threads 0", "--threads must be at least 1, not 0."),
        ("--timeout 0", "--timeout must be a positive number of seconds, not 0."),
        ("--timeout nan", "--timeout must be a positive number of seconds, not nan."),
        ("--device cuda", "--device cuda was asked for and no CUDA device is available"),
        ("--device tpu", "--device must be auto, cpu or cuda, not 'tpu'."),
        ("--db absent/results.db", "The folder absent of the database results.db does not exist"),
        ("--db mysql://host/name", "cannot be used; give a path"),
        ("--methods ''", "This run holds no cell"),
        ("--no-such-option", "No such option"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dry", ["", "--dry-run"], ids=["", "dry"])
def test_run_refuses(options, words, dry, here, monkeypatch):
    class Classifier(MAP):
        name, supports = "classifier", ("classification",)

    monkeypatch.setitem(METHODS._entries, "classifier", Classifier)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    if dry and "--db" in options:
        pytest.skip("a dry run opens no database")
    line = "run --methods constant --task toy-homoscedastic --budget smoke"  # cheap if it is not refused
    methods = "--methods all" if "--set" in options else ""
    assert words in refuse(f"{line} {methods} {options} {dry}")
    assert files(here) == {}


def test_missing_data_offline(here, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{closed.getsockname()[1]}"  # where nobody listens
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, proxy)
    (here / "data").mkdir()
    monkeypatch.setenv("BNNBENCH_DATA", str(here / "data"))
    for line in ("run --methods constant --task yacht", "data fetch yacht"):
        sentence = refuse(line)
        assert "Cannot download" in sentence
        assert "no connection" in sentence
        assert "bnnbench data import yacht" in sentence
        assert str(here / "data") in sentence
    assert files(here) == {}


COMMANDS = ["run --methods constant --task toy-homoscedastic", "status", "export", "show 00", "report"]


@pytest.mark.parametrize("command", COMMANDS)
def test_databases_that_are_none_of_ours(command, here, db):
    database = sqlite3.connect(db)
    database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.commit()
    database.close()
    (here / "notes.txt").write_text("no database at all\n" * 100)
    (here / "folder").mkdir()
    before = files(here)
    assert "written by a newer bnnbench" in refuse(f"{command} --db results.db")
    assert "is not an SQLite database" in refuse(f"{command} --db notes.txt")
    assert "is not a file" in refuse(f"{command} --db folder")
    assert files(here) == before


@pytest.mark.parametrize("command", COMMANDS[1:])
def test_reading_without_a_database(command, here):
    assert refuse(command).startswith("There is no database at results.db; make one with `bnnbench run")
    assert files(here) == {}


def test_bad_names_when_reading(db, here):
    before = files(here)
    assert "There is no cell 'zzz'; the nearest are" in refuse("show zzz")
    assert "Several cells begin with ''" in refuse("show ''")
    assert "xlsx" in refuse("export --format xlsx")
    assert "docx" in refuse("report --format docx")
    assert "mop" in refuse("report --methods mop")
    assert "hosing" in refuse("report --task hosing")
    assert "quik" in refuse("report --budget quik")
    assert "sheep" in refuse("list sheep")
    assert "There is no data set" in refuse("data fetch hosing")
    assert files(here) == before


def test_read_only_folder(made):
    """Permission bits do not bind root, who lays down the rights for the while."""
    root = os.geteuid() == 0
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    shutil.copy(made[0] / "results.db", folder)
    for path in (folder, folder / "results.db"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    if root:
        os.seteuid(65534)
    try:
        for name in ("new.db", "results.db"):
            sentence = refuse(f"run --methods constant --task toy-homoscedastic --seeds 2 --db {folder}/{name}")
            assert "read-only; use another --db" in sentence
        assert "task,method,config" in succeed(f"export --db {folder}/results.db")
    finally:
        if root:
            os.seteuid(0)
    assert [path.name for path in folder.iterdir()] == ["results.db"]
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_full_disk_for_artifacts(here, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    line = "run --methods constant --task toy-homoscedastic --budget smoke --threads 1"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        result = invoke(line)
    assert result.exit_code == 2
    assert result.stderr.strip().endswith(
        "(No space left on device); free some disk space and run again, or use another folder."
    )
    assert "Traceback" not in result.output
    assert "holds no results yet" in succeed("status")
    assert list(files(here)) == ["results.db"]
    assert "1 ok now" in succeed(line)


def test_full_disk_for_the_database(here, monkeypatch):
    line = "run --methods constant --task toy-homoscedastic --budget smoke --threads 1"
    original = sqlite._connect
    for pages in (1, 20):

        def small(*arguments, pages=pages):
            connection = original(*arguments)
            connection.execute(f"PRAGMA max_page_count = {pages}")
            return connection

        with monkeypatch.context() as patch:
            patch.setattr(sqlite, "_connect", small)
            assert "There is no space left for the database" in refuse(line)
    assert "1 ok now" in succeed(line)


# What works


def commands(group=main, path=()):
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


@pytest.mark.parametrize(("path", "command"), [((), main), *commands()], ids=lambda value: str(value)[:40])
def test_every_command_has_help_with_an_example_that_parses(path, command):
    text = succeed(shlex.join([*path, "--help"]))
    examples = [line.strip() for line in text.splitlines() if line.startswith("    bnnbench ")]
    assert "Example:" in text
    assert examples
    for example in examples:
        assert example.startswith(shlex.join(["bnnbench", *path]))
        context, left = click.Context(main), shlex.split(example)[1:]
        while left:
            name, found, left = context.command.resolve_command(context, left)
            context = found.make_context(name, left, parent=context)  # raises on what it does not know
            left = [*context._protected_args, *context.args] if isinstance(found, click.Group) else []


def test_help_and_version_import_nothing_heavy():
    code = (
        "import sys; from bnnbench.cli import main; main(['--help'], standalone_mode=False); print(list(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"'torch'", "'numpy'", "'pandas'", "'sqlalchemy'", "'matplotlib'"} & set(
        shown.rpartition("[")[2].split(", ")
    )
    assert succeed("--version").startswith("main, version") or "version" in succeed("--version")


def test_the_program_itself_refuses_without_a_traceback(here):
    program = [sys.executable, "-c", "from bnnbench.cli import main; main()"]
    ended = subprocess.run([*program, "run", "--methods", "mop"], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("Error: There is no method 'mop'; did you mean map")
    assert ended.stderr.count("\n") == 1
    assert files(here) == {}


def test_listings():
    for name in METHODS.names():
        assert name in succeed("list methods")
    assert "diabetes" in succeed("list tasks")
    assert re.search(r"fgsm-norm +no +mnist, mnist-lenet", succeed("list test-sets"))
    assert "log_likelihood" in succeed("list metrics")
    assert "3,000" in succeed("list budgets")
    assert "yacht" in succeed("data list")


def test_from_run_to_report(made, db, here):
    said = made[1]
    assert said.stdout.startswith("6 cells: 0 finished before, 6 ok now.\n")
    for name in ("constant", "map", "sgld", "toy-antoran", "log_likelihood (nats", "rmse ("):
        assert name in said.stdout
    assert "[6/6]" in said.stderr
    shown = succeed("status")
    assert "6 cells stored, 0 being trained." in shown

    table = pd.read_csv(StringIO(succeed("export --format csv")))
    leading = "task,method,config,split,seed,budget,evaluation,metric,value,stderr,status"
    assert list(table.columns[:11]) == leading.split(",")
    assert set(table["method"]) == {"constant", "map", "sgld"}
    assert set(table["split"]) == {"fixed-0"}
    assert set(table["status"]) == {"ok"}
    succeed("export --format json --out scores.json")
    assert len(json.loads(Path("scores.json").read_text(encoding="utf-8"))) == len(table)

    one = table.iloc[0]
    text = succeed(f"show {one['fingerprint'][:10]}")
    for word in (one["fingerprint"], one["task"], one["method"], "revision", "fixed-0", one["metric"]):
        assert str(word) in text

    assert re.search(r"begin with reports/index\.(html|md)\.", succeed("report"))  # html where its extra is installed
    assert "toy-homoscedastic" in Path("reports/index.md").read_text(encoding="utf-8")


def test_a_second_run_trains_nothing(db, here):
    before, header = files(here), db.read_bytes()[:100]
    text = succeed(SMALL)
    assert text.startswith("6 cells: 6 finished before, none now.\n")
    assert files(here) == before
    assert db.read_bytes()[:100] == header  # where SQLite counts changes: to git the file is the same
    assert len(pd.read_csv(StringIO(succeed("export")))) > 0
    connection = sqlite3.connect(db)
    assert connection.execute("SELECT count(*) FROM attempt").fetchone() == (6,)
    connection.close()


def test_a_dry_run_writes_nothing(db, here):
    before = files(here)
    text = succeed(f"{SMALL} --seeds 2 --dry-run")
    assert "6 of 12 cells would be trained." in text
    assert files(here) == before
    assert "6 of 6 cells would be trained." in succeed(f"{SMALL} --dry-run --db fresh.db")
    assert files(here) == before


def test_force_trains_again_and_gives_the_same_numbers(db):
    before = pd.read_csv(StringIO(succeed("export")))
    assert succeed(f"{SMALL} --force").startswith("6 cells: 0 finished before, 6 ok now.\n")
    after = pd.read_csv(StringIO(succeed("export")))
    pd.testing.assert_frame_equal(before, after, check_exact=True)
    connection = sqlite3.connect(db)
    assert connection.execute("SELECT count(*) FROM attempt").fetchone() == (12,)
    connection.close()


def test_more_seeds_train_only_the_new_cells(db):
    first = succeed(f"{SMALL} --seeds 2").splitlines()[0]
    # After 20 steps a chain may fail its diagnostics.
    assert re.fullmatch(r"12 cells: 6 finished before, (6 ok|5 ok, 1 unconverged) now\.", first)


def test_splits_run_alone(here):
    line = "run --methods constant --task diabetes --budget smoke --threads 1 --device cpu"
    assert succeed(f"{line} --splits 0,3").startswith("2 cells: 0 finished before, 2 ok now.\n")
    assert "8 of 10 cells would be trained." in succeed(f"{line} --dry-run")


@pytest.mark.parametrize(
    ("former", "now", "hint"),
    [
        ("--folds 0,3", "--splits 0,3", "Warning: --folds is now --splits.\n"),
        ("--splits 10fold", "--split-rule 10fold", "Warning: --splits 10fold is now --split-rule 10fold.\n"),
        ("--tasks diabetes", "--task diabetes", ""),
    ],
)
def test_former_spellings_of_a_run(former, now, hint, here):
    line = "run --methods constant --task diabetes --budget smoke --threads 1 --device cpu"
    said = invoke(f"{line} {former}")
    assert said.exit_code == 0, said.output
    assert said.stderr.count("Warning: ") == bool(hint)
    assert hint in said.stderr
    again = invoke(f"{line} {now}")
    assert "none now" in again.stdout
    assert "Warning" not in again.stderr
    assert again.stdout.partition("\n")[2] == said.stdout.partition("\n")[2]


def test_tasks_is_an_alias_of_task_in_reports(db, here):
    for option in ("--task", "--tasks"):
        succeed(f"report {option} toy-antoran")
        assert "toy-homoscedastic" not in Path("reports/index.md").read_text(encoding="utf-8")


def test_all_beside_names(here):
    line = "run --methods all,prior-only --task toy-antoran --dry-run"
    assert "There is no method 'prior-only'" in refuse(line)
    both = succeed("run --methods all,hmc --task toy-antoran --dry-run")
    assert " hmc " in both
    assert " sgld " in both


def test_an_empty_file_becomes_a_database(here):
    Path("results.db").touch()
    assert succeed(SMALL).startswith("6 cells: 0 finished before, 6 ok now.\n")


def test_a_run_says_which_evaluations_are_lost(db, here):
    connection = sqlite3.connect(db)
    connection.execute("DELETE FROM evaluation WHERE name = 'train'")
    connection.commit()
    connection.close()
    shutil.rmtree(here / "results.artifacts")
    result = invoke(SMALL)
    assert result.exit_code == 0
    assert result.stderr.count("6 finished cells lack evaluations and have no stored posterior to score; --force") == 1


def test_timeout_is_stored(here):
    line = "run --methods map --task toy-homoscedastic --budget smoke --threads 1"
    assert "1 timeout now" in succeed(f"{line} --timeout 0.000001")
    assert "timeout" in succeed("status")
    assert "1 finished before" in succeed(line)


def test_a_method_that_raises_is_stored_and_tried_again(here, monkeypatch):
    class Broken(MAP):
        name, tags = "broken", ()

        def update(self, key, state, problem):
            raise ArithmeticError("no luck\ntoday")

    monkeypatch.setitem(METHODS._entries, "broken", Broken)
    line = "run --methods broken,map --task toy-homoscedastic --budget smoke --threads 1"
    text = succeed(line)
    assert "1 ok" in text
    assert "1 failed" in text
    assert "failed" in succeed("status")
    again = invoke(line)
    assert "1 finished before, 1 failed now" in again.stdout
    assert "Warning: toy-homoscedastic broken: 1 cell failed: ArithmeticError: no luck today" in again.stderr
    assert again.exit_code == 1  # all that was to be trained failed

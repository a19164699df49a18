"""Streams that take nothing, little or odd characters; homes, working directories and data roots that are not there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from bnnbench.cli import main
from bnnbench.cli.terminal import held_interrupts, plain

PROGRAM = f"{sys.executable} -c 'from bnnbench.cli import main; main()'"
FULL = Path("/dev/full")


def shell(line: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A line of a shell in which `$B` is the program, with nothing in the environment but what Python needs."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME") if name in os.environ}
    given = kept | {"OMP_NUM_THREADS": "1"} | environment
    done = subprocess.run(
        ["bash", "-c", line.replace("$B", PROGRAM)],
        cwd=folder,
        env=given,
        capture_output=True,
        check=False,
        timeout=300,
    )
    return subprocess.CompletedProcess(line, done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    line = f"run --methods constant --task toy-homoscedastic --budget smoke --threads 1 --db {folder}/results.db"
    assert CliRunner().invoke(main, line.split()).exit_code == 0
    return folder


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
@pytest.mark.parametrize(
    "command", ["--help", *(pytest.param(c, marks=pytest.mark.slow) for c in ("list budgets", "export", "status"))]
)
def test_a_full_standard_output(command, made):
    done = shell(f"$B {command} > /dev/full", made)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: Standard output cannot be used (No space left on device);")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
def test_a_full_standard_error(made):
    done = shell("$B show zzz 2> /dev/full", made)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


@pytest.mark.slow
def test_streams_that_are_closed(made):
    assert shell("$B export >&-", made).returncode == 0
    assert shell("$B show zzz >&- 2>&-", made).returncode == 2
    run = "$B run --methods map --task toy-homoscedastic --budget smoke --threads 1 --db closed.db <&- >&- 2>&-"
    assert shell(run, made).returncode == 0
    assert "1 ok" not in shell("$B status --db closed.db", made).stderr
    assert (made / "closed.db").read_bytes().startswith(b"SQLite")


@pytest.mark.slow
def test_a_reader_that_leaves(made):
    done = shell("set -o pipefail; $B export | head -n 1", made)
    assert done.stdout.startswith("task,method")
    assert done.stderr == ""
    done = shell("$B list methods | true; exit ${PIPESTATUS[0]}", made)
    assert done.stderr == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}],
    ids=["ascii", "C"],
)
def test_a_terminal_of_ascii(made, environment):
    """Rows of en dashes and Greek letters are shown as they can be."""
    shutil.copytree(made, made.parent / "α–ω", dirs_exist_ok=True)
    (made / "shown.py").write_text(
        "from bnnbench.cli.common import table\n"
        "from bnnbench.cli.terminal import survived\n"
        "with survived():\n"
        "    table(['σ'], [('α – ω ± \\udcff',)])\n",
        encoding="utf-8",
    )
    done = shell(f"{sys.executable} shown.py", made, **environment, NO_COLOR="1", TERM="dumb")
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert r"\u03b1 \u2013 \u03c9" in done.stdout
    done = shell("$B status --db ../α–ω/nothing.db", made, **environment)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: There is no database at ../")
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_working_directory_that_is_gone(tmp_path):
    gone = "mkdir gone; cd gone; rmdir ../gone; "
    for command in ("run --methods constant --task toy-antoran --budget smoke --threads 1", "status", "report"):
        done = shell(f"{gone} $B {command}", tmp_path)
        assert done.returncode == 2
        assert done.stderr.startswith("Error: "), done.stderr
        assert "Traceback" not in done.stderr
        assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_no_home(made):
    """Paths with `~` work as the system's list of users says, and without it they are refused."""
    line = "unset HOME; $B status"
    assert shell(line, made).returncode == 0
    done = shell("$B status --db '~nosuchuser/x.db'", made)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: --db ~nosuchuser/x.db names a home folder that is not known")
    done = shell("$B data list", made, BNNBENCH_DATA="~nosuchuser/data")
    assert done.returncode == 2
    assert done.stderr.startswith("Error: $BNNBENCH_DATA ~nosuchuser/data names a home folder that is not known")


@pytest.mark.skipif(os.geteuid() != 0, reason="lays down the rights of root for the while")
@pytest.mark.parametrize("line", ["data list", "list tasks", "data verify", "data fetch yacht", "run --task yacht"])
def test_a_data_root_that_may_not_be_read(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    root = tmp_path.resolve() / "root"
    (root / "uci").mkdir(parents=True)
    root.chmod(0o000)
    for parent in root.parents:
        if parent.stat().st_uid == 0 and parent.is_relative_to("/tmp/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    monkeypatch.setenv("BNNBENCH_DATA", str(tmp_path))
    CliRunner().invoke(main, line.split())  # with all that it imports, which not everybody may
    monkeypatch.setenv("BNNBENCH_DATA", str(root))
    os.seteuid(65534)
    try:
        result = CliRunner().invoke(main, line.split())
    finally:
        os.seteuid(0)
        root.chmod(0o755)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in ((0, 1) if "fetch" not in line and "run" not in line else (2,)), result.output
    assert "Traceback" not in result.output


def test_plain_text_stays_and_the_rest_is_escaped():
    assert plain("α – ω \\ 'x'") == "α – ω \\ 'x'"
    assert plain("a\nb\x1b[31m\udcff\0") == r"a\nb\x1b[31m\udcff\x00"


@pytest.mark.slow
@pytest.mark.parametrize("columns", ["0", "1", "abc", "100000"])
def test_odd_widths(columns, made):
    done = shell("$B list budgets", made, COLUMNS=columns, TERM="dumb")
    assert done.returncode == 0, done.stderr
    assert "smoke" in done.stdout


def test_an_interrupt_waits_for_the_end_and_a_second_one_does_not():
    done, before = [], signal.getsignal(signal.SIGINT)

    def interrupted(times, what):
        with held_interrupts():
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
            done.append(what)

    for times, what in ((1, "what had begun"), (2, "what hangs")):
        with pytest.raises(KeyboardInterrupt):
            interrupted(times, what)
    assert done == ["what had begun"]
    assert signal.getsignal(signal.SIGINT) is before

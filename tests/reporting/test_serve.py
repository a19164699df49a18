"""The served page: what a real server on a free port answers while the database is written, lost, locked, damaged."""

import gzip
import http.client
import json
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from report_data import SESSION, cell, fill, outcome

from bnnbench.cli import main
from bnnbench.errors import UserError
from bnnbench.reporting.live import builder as building
from bnnbench.reporting.live import server as serving
from bnnbench.reporting.live.builder import Builder
from bnnbench.reporting.live.server import Serving
from bnnbench.reporting.page.compact import unpacked
from bnnbench.store.claims import owner_id
from bnnbench.store.pulse import pulse
from bnnbench.store.snapshot import snapshot
from bnnbench.store.store import ResultStore

LONG = 120.0  # seconds that a page may take on a busy machine
PROGRAM = [sys.executable, "-c", "from bnnbench.cli import main; main()"]
# What another process does: a result every moment, of a method that was not there before.
WRITER = """
import sys, time
sys.path[:0] = [{tests!r}]
from report_data import SESSION, cell, outcome
from bnnbench.store.store import ResultStore
with ResultStore({db!r}) as store:
    session = store.start_session(SESSION)
    for i in range(2, 10):
        store.record(session, [outcome(cell("housing", m, index=i), -1.0 - i) for m in ("map", "mc-dropout")])
        print(i, flush=True)
        time.sleep(0.2)
    sys.stdin.read()
"""


def made(path, *methods, splits=2):
    outcomes = [outcome(cell("housing", m, index=i), -1.0 - i / 10) for m in methods for i in range(splits)]
    with fill(path, outcomes):
        return path


@pytest.fixture
def db(tmp_path):
    return made(tmp_path / "results.db", "map", "sgld")


@pytest.fixture(autouse=True)
def _hurried(monkeypatch):
    """No rests between two looks; a request waits until the page is made."""
    monkeypatch.setattr(building, "CHECK_S", 0.0)
    monkeypatch.setattr(building, "REST", 0)
    monkeypatch.setattr(building, "BROKEN_S", 0.0)
    monkeypatch.setattr(building, "LOCK_S", 0.2)
    monkeypatch.setattr(serving, "PATIENCE_S", LONG)


class Client:
    """Asks one server."""

    def __init__(self, server):
        self.host, self.port = server._server.server_address[:2]

    def ask(self, path="/", method="GET", **headers):
        with closing(http.client.HTTPConnection(self.host, self.port, timeout=LONG)) as connection:
            connection.putrequest(method, path, skip_host="Host" in headers, skip_accept_encoding=True)
            for name, value in headers.items():
                if value is not None:
                    connection.putheader(name.replace("_", "-"), value)
            connection.endheaders()
            response = connection.getresponse()
            response.content = response.read()
            return response

    def state(self):
        return json.loads(self.ask("/state").content)

    def raw(self, request):
        with closing(socket.create_connection((self.host, self.port), timeout=LONG)) as connection:
            connection.sendall(request)
            return b"".join(iter(lambda: connection.recv(65536), b""))


@contextmanager
def client_of(db, host="127.0.0.1"):
    with Serving(db, None, host, 0) as server:
        yield Client(server)


@pytest.fixture
def client(db):
    with client_of(db) as found:
        yield found


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    """A server whose database stays as it is, for requests that are about something else."""
    with client_of(made(tmp_path_factory.mktemp("still") / "results.db", "map", "sgld")) as found:
        yield found


def rows(response):
    """Names of the rows of a page."""
    return set(unpacked(re.search(rb'id="payload">([^<]*)<', response.content)[1].decode())["rows"])


def add(db, *methods, index=0):
    with ResultStore(db) as store:
        store.record(store.start_session(SESSION), [outcome(cell("housing", m, index=index), -1.0) for m in methods])


def until(found, limit=LONG):
    """Ask again until it is true."""
    end = time.monotonic() + limit
    while not (value := found()):
        assert time.monotonic() < end, "in vain"
        time.sleep(0.1)
    return value


def test_the_page_is_that_of_the_database(still):
    page = still.ask()
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert rows(page) == {"map", "sgld"}
    assert still.ask("/index.html?x=1").content == page.content
    zipped = still.ask(Accept_Encoding="br, gzip")
    assert gzip.decompress(zipped.content) == page.content
    assert zipped.headers["Content-Encoding"] == "gzip"
    for refused in ("gzip;q=0", "br", "x-gzip", ""):
        assert still.ask(Accept_Encoding=refused).content == page.content


def test_only_the_served_page_may_ask_and_only_its_own_server(client, db, tmp_path):
    served = client.ask().content.decode()
    CliRunner().invoke(main, ["report", "--db", str(db), "--out", str(tmp_path / "o"), "--format", "html"])
    written = (tmp_path / "o/index.html").read_text(encoding="utf-8")
    assert "connect-src 'self'\">" in served.replace("&#39;", "'")
    assert "connect-src" not in re.findall(r'Content-Security-Policy" content="([^"]+)"', written)[0]
    assert "default-src &#39;none&#39;" in served
    assert "bnnbench-state" in served
    assert "bnnbench-state" not in written
    assert 'fetch("state"' not in written
    assert client.ask().headers["Content-Security-Policy"] == "frame-ancestors 'none'"


def test_a_page_that_is_held_is_not_sent_again(client, db):
    page = client.ask()
    tag = page.headers["ETag"]
    for held in (tag, f'"other", {tag}', tag.removeprefix("W/"), "*"):
        again = client.ask(If_None_Match=held)
        assert (again.status, again.content, again.headers["ETag"]) == (304, b"", tag)
    assert client.ask(If_None_Match='"other"').status == 200
    add(db, "mc-dropout")
    newer = client.ask(If_None_Match=tag)
    assert (newer.status, rows(newer)) == (200, {"map", "sgld", "mc-dropout"})


def test_head_is_get_without_a_body(still):
    page, head = still.ask(), still.ask(method="HEAD")
    assert head.content == b""
    assert {**head.headers, "Date": ""} == {**page.headers, "Date": ""}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH", "BREW"])
def test_nothing_but_reading(still, method):
    response = still.ask(method=method)
    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")
    assert response.content == b"This server is only read: it answers GET and HEAD.\n"


def test_a_body_is_no_second_request(still):
    body = b"GET /state HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for start in (b"POST / HTTP/1.1", b"GET /state HTTP/1.1"):
        answer = still.raw(start + b"\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("path", ["/x", "/..%2fetc/passwd", "/../../etc/passwd", "/state/", "/State", "*",
                                  "http://127.0.0.1/", "/<script>alert(1)</script>"])  # fmt: skip
def test_no_other_address(still, path):
    response = still.ask(path)
    assert (response.status, response.content) == (404, b"There is nothing at this address; the page is at /.\n")


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "192.168.0.1",
                                  "[::2]:1", "localhost@evil", "", "[", "a b", None])  # fmt: skip
def test_names_that_lead_here_from_elsewhere_are_refused(still, host):
    for path in ("/", "/state"):
        response = still.ask(path, Host=host)
        assert response.status == 421
        assert b"does not answer to that name" in response.content


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:80", "[::1]", "[::1]:8000"])
def test_own_names_are_taken_with_any_port_as_of_a_tunnel(still, host):
    assert still.ask("/state", Host=host).status == 200


def test_two_hosts_are_none(still):
    answer = still.raw(b"GET /state HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 421 ")


def test_for_other_machines_addresses_do_and_names_do_not(db):
    with Serving(db, None, "0.0.0.0", 0) as server:
        assert not server.loopback
        assert server.url.startswith("http://127.0.0.1:")
        asked = Client(server)
        asked.host = "127.0.0.1"
        assert asked.ask("/state", Host="192.168.0.7:8000").status == 200
        assert asked.ask("/state", Host=socket.gethostname()).status == 200
        assert asked.ask("/state", Host="evil.example").status == 421


@pytest.mark.parametrize("request_", [b"\r\n\r\n", b"nonsense\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
                                      b"\x16\x03\x01\x02\x00\r\n",
                                      b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n",
                                      b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n"])  # fmt: skip
def test_what_is_no_request_gets_a_sentence_at_most(still, capfd, request_):
    answer = still.raw(request_)
    assert b"Traceback" not in answer
    assert b"200 OK" not in answer
    assert still.state()["problem"] == ""
    assert "Traceback" not in capfd.readouterr().err


def test_results_that_come_are_told_by_the_state(client, db):
    before = client.ask()
    state = client.state()
    assert state["state"].encode() in before.content
    add(db, "map")  # a cell that is finished: nothing is stored but a session
    time.sleep(0.5)
    assert client.state()["state"] == state["state"] or rows(client.ask()) == {"map", "sgld"}
    add(db, "mc-dropout")
    until(lambda: client.state()["state"] != state["state"])
    assert rows(client.ask()) == {"map", "sgld", "mc-dropout"}


def test_claims_and_signs_of_life_are_no_news(db):
    before = pulse(db)
    with ResultStore(db) as store:
        assert store.claim([cell("housing", "mc-dropout")], owner_id())
        store.heartbeat(owner_id())
        assert pulse(db) == before
        store.release(owner_id())
    assert pulse(db) == before
    add(db, "mc-dropout")
    assert pulse(db) != before


@pytest.mark.parametrize("change", [
    "UPDATE method SET citation = 'other' WHERE name = 'map'",
    "UPDATE task SET warning = 'smoke' WHERE name = 'housing'",
    "DELETE FROM attempt WHERE id = 1",
    "UPDATE score SET value = value + 1",
    "INSERT INTO verdict SELECT 1, 1, 1, '{}', 'default', 'prior', 0.1, 0.2, 1, ''",
])  # fmt: skip
def test_the_pulse_tells_of_all_that_a_page_shows(db, change):
    before = pulse(db)
    with closing(sqlite3.connect(db)) as connection, connection:
        connection.execute(change)
    assert pulse(db) != before


def test_while_another_process_writes(client, db):
    first = rows(client.ask())
    code = WRITER.format(tests=str(Path(__file__).parent), db=str(db))
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        for _ in iter(lambda: writer.stdout.readline() not in (b"9\n", b""), False):
            assert client.ask().status == 200
            assert client.state()["problem"] == ""
        assert until(lambda: rows(client.ask()) - first) == {"mc-dropout"}
        assert writer.communicate(b"")[0] == b""
    assert writer.returncode == 0
    with ResultStore(db, read_only=True) as store:
        assert len(store.attempts()) == 2 + 10 + 8


def test_one_page_is_made_at_a_time_and_earlier_ones_are_given_meanwhile(db, monkeypatch):
    begun, go, alone, real = [], threading.Event(), threading.Lock(), building.results

    def slow(*given):
        assert alone.acquire(blocking=False), "two at once"
        begun.append(None)
        if len(begun) > 1:
            go.wait(LONG)
        alone.release()
        return real(*given)

    monkeypatch.setattr(building, "results", slow)
    with client_of(db) as client:
        first = client.ask()
        add(db, "mc-dropout")
        monkeypatch.setattr(serving, "PATIENCE_S", 0.2)
        asked = [threading.Thread(target=client.ask) for _ in range(8)]
        for thread in asked:
            thread.start()
        for thread in asked:
            thread.join()
        assert client.ask().content == first.content
        assert len(begun) == 2
        go.set()
        until(lambda: client.ask().content != first.content)


def test_pages_are_made_no_more_often_than_rests_allow(db, monkeypatch):
    monkeypatch.setattr(building, "CHECK_S", 3600.0)
    page = Builder(db)
    first = page.ask(LONG)
    add(db, "mc-dropout")
    assert page.ask(LONG) is first


def test_nothing_is_made_while_nothing_changes(db, monkeypatch):
    page = Builder(db)
    first = page.ask(LONG)
    monkeypatch.setattr(building, "results", lambda *given: pytest.fail("made again"))
    time.sleep(0.05)
    assert page.ask(LONG) is first


def test_a_database_without_results_says_what_to_run_and_shows_the_first(tmp_path):
    db = tmp_path / "a b.db"
    with fill(db, []), client_of(db) as client:
        page = client.ask()
        assert page.status == 200
        assert f"{db} holds no results yet." in page.content.decode()
        assert f"bnnbench run --task starter --budget quick --db &#39;{db}&#39;" in page.content.decode()
        with ResultStore(db) as store:
            assert store.claim([cell("housing", m, index=i) for m in ("map", "sgld") for i in (0, 1)], owner_id())
            waiting = until(lambda: b"4 cells are being trained" in (told := client.ask().content) and told)
            assert client.state()["state"].encode() in waiting
        add(db, "map")
        assert rows(until(lambda: (found := client.ask()) and b"payload" in found.content and found)) == {"map"}


def test_an_empty_file_is_no_fault_but_what_is_no_database_is_one(tmp_path):
    db = tmp_path / "empty.db"
    db.touch()
    with client_of(db) as client:
        assert b"holds no results yet" in client.ask().content
    assert db.read_bytes() == b""
    db.write_text("no database " * 100)
    with pytest.raises(UserError, match="is not an SQLite database and was left as it is"):
        Serving(db, None, "127.0.0.1", 0)


def faults(db):
    """Of a database: what happens to it, what is said then, and how it is made good."""
    whole = db.read_bytes()
    locks = []

    def lock():
        locks.append(sqlite3.connect(db, check_same_thread=False))
        locks[0].execute("BEGIN EXCLUSIVE")

    return {
        "lost": (db.unlink, f"There is no database at {db}; ", lambda: db.write_bytes(whole)),
        "locked": (lock, f"The database {db} is locked by another program; ", lambda: locks[0].close()),
        "damaged": (lambda: db.write_bytes(whole[:4096] + b"x" * 8192 + whole[12288:]), "database",
                    lambda: db.write_bytes(whole)),
        "replaced": (lambda: db.write_text("text " * 500), f"{db} is not an SQLite database",
                     lambda: db.write_bytes(whole)),
    }  # fmt: skip


@pytest.mark.parametrize("fault", ["lost", "locked", "damaged", "replaced"])
def test_a_fault_is_a_notice_beside_the_earlier_page_and_passes(client, db, fault):
    page = client.ask()
    happens, said, mended = faults(db)[fault]
    happens()
    problem = until(lambda: client.state()["problem"])
    assert said in problem
    assert problem.count("\n") == 0
    assert client.ask().content == page.content
    mended()
    until(lambda: not client.state()["problem"])
    assert client.ask().content == page.content


def test_a_fault_from_the_start_is_a_page_of_one_sentence(db):
    page = Builder(db.with_name("other.db"))
    shown = page.ask(LONG)
    assert shown.status == 500
    assert f"There is no database at {db.with_name('other.db')}; ".encode() in shown.body
    shutil.copy(db, db.with_name("other.db"))
    time.sleep(0.05)
    assert page.ask(LONG).status == 200


def test_an_error_that_nobody_foresaw_is_for_the_terminal_alone(db, monkeypatch, caplog):
    def broken(*given):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(building, "results", broken)
    with client_of(db) as client:
        page = client.ask()
        assert page.status == 500
        assert b"The page could not be made; the terminal of `bnnbench serve` says why." in page.content
        assert b"secret" not in page.content + client.ask("/state").content
    assert "ZeroDivisionError: secret" in caplog.text


def test_a_database_of_an_older_edition_stays_as_it_is(db):
    with closing(sqlite3.connect(db)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '0006'")
        connection.execute("DROP TABLE verdict")
        connection.execute("ALTER TABLE method DROP COLUMN implements")
        connection.execute("ALTER TABLE cell DROP COLUMN purpose")
    before = db.read_bytes()
    with client_of(db) as client:
        assert rows(client.ask()) == {"map", "sgld"}
    assert db.read_bytes() == before
    assert {file.name for file in db.parent.iterdir()} == {db.name}


def test_serving_leaves_the_file_as_it_is_and_nothing_beside_it(db):
    before = db.read_bytes()
    with client_of(db) as client:
        client.ask()
    assert db.read_bytes() == before
    assert {file.name for file in db.parent.iterdir()} == {db.name}


def test_a_server_that_is_closed_answers_nobody_any_more(db):
    with Serving(db, None, "127.0.0.1", 0) as server:
        client = Client(server)
        with closing(http.client.HTTPConnection(client.host, client.port, timeout=LONG)) as kept:

            def again():
                kept.request("GET", "/state")
                return kept.getresponse().read()

            assert again()
            server.close()
            with pytest.raises((http.client.HTTPException, OSError)):
                again()
        with pytest.raises(OSError, match="refused"):
            client.ask("/state")


def test_a_database_on_a_server(postgres):
    url = postgres.new()
    with fill(url, [outcome(cell("housing", m), -1.0) for m in ("map", "sgld")]):
        pass
    with client_of(url) as client:
        page = client.ask()
        assert rows(page) == {"map", "sgld"}
        add(url, "mc-dropout")
        until(lambda: client.ask().content != page.content)
        assert rows(client.ask()) == {"map", "sgld", "mc-dropout"}


def test_hostile_names_are_data_of_the_served_page_too(tmp_path):
    from test_page import HOSTILE, hostile_store

    with hostile_store(tmp_path / "h.db"):
        pass
    with client_of(tmp_path / "h.db") as client:
        page = client.ask()
    assert b"alert(1)" not in page.content
    assert {row.split(" [s=")[0] for row in rows(page)} == set(HOSTILE)


def test_a_name_of_a_file_is_text_where_there_is_no_page(tmp_path):
    db = tmp_path / "<img src=x onerror=alert(1)>.db"
    with fill(db, []), client_of(db) as client:
        page = client.ask().content.decode()
    assert "<img" not in page
    assert "&lt;img src=x" in page


@pytest.mark.parametrize(("given", "sentence"), [
    (["--db", "absent.db"], "There is no database at absent.db; make one with"),
    (["--port", "{taken}"], "Port {taken} of 127.0.0.1 is in use by another program; give another --port, or 0"),
    (["--port", "70000"], "--port must lie between 1 and 65,535, not 70,000."),
    (["--port", "-1"], "--port must be at least 1, not -1."),
    (["--host", "no such host"], "--host 'no such host' names no machine;"),
    (["--host", "a" * 300], "names no machine;"),
    (["--host", "192.0.2.1"], "--host 192.0.2.1 is no address of this machine;"),
])  # fmt: skip
def test_what_cannot_be_served_is_refused_in_a_sentence(db, monkeypatch, given, sentence):
    monkeypatch.chdir(db.parent)
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = CliRunner().invoke(main, ["serve", *(part.format(taken=port) for part in given)])
    assert done.exit_code == 2
    assert sentence.format(taken=port) in done.output
    assert done.output.count("\n") == 1


def test_a_port_of_the_system_is_refused_in_a_sentence(db, monkeypatch):
    def refused(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(serving._Server, "server_bind", refused)
    with pytest.raises(UserError, match=r"Port 80 is not for this user; give a --port of 1024 or more, or 0"):
        Serving(db, None, "127.0.0.1", 80)


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal")
def test_the_command_says_where_and_ends_with_an_interrupt(db):
    line = [*PROGRAM, "serve", "--db", str(db), "--port", "0"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        url = re.fullmatch(rf"{re.escape(str(db))} is served at http://127.0.0.1:(\d+)/ until Ctrl-C.\n", said)
        assert url, said
        with closing(http.client.HTTPConnection("127.0.0.1", int(url[1]), timeout=LONG)) as connection:
            connection.request("GET", "/state")
            assert connection.getresponse().status == 200
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=LONG)
    assert process.returncode == 0
    assert errors.strip() == ""


@pytest.mark.parametrize("works", [True, False])
def test_the_command_warns_of_other_machines_and_opens_a_browser(db, monkeypatch, works):
    def interrupted(self):
        raise KeyboardInterrupt

    opened = []
    monkeypatch.setattr(Serving, "wait", interrupted)
    monkeypatch.setattr("webbrowser.open", lambda url: bool(opened.append(url)) or works)
    done = CliRunner().invoke(main, ["serve", "--db", str(db), "--port", "0", "--host", "0.0.0.0", "--open"])
    assert done.exit_code == 0
    assert done.stdout == f"{db} is served at {opened[0]} until Ctrl-C.\n"
    assert (
        "Warning: everybody who reaches this machine there can read the results; there is no password.\n" in done.stderr
    )
    assert ("Warning: No browser could be opened; open this address in one.\n" in done.stderr) == (not works)


def test_all_of_a_block_is_read_of_one_state(db):
    with ResultStore(db) as writer, ResultStore(db, read_only=True) as store:
        with store.one_view():
            before = len(store.attempts())
            writer.record(1, [outcome(cell("housing", "mc-dropout"), -1.0)])
            assert len(store.attempts()) == len(store.scores(evaluation="test")) == before == 4
        assert len(store.attempts()) == 5


def test_a_snapshot_is_of_its_moment_and_holds_nobody_up(db):
    """The writer has no log here: a reader at work would make it wait for as long."""
    with snapshot(db) as store:
        before = store.scores()
        begun = time.monotonic()
        add(db, "mc-dropout")
        assert time.monotonic() - begun < 20
        assert store.scores().equals(before)
    with snapshot(db) as store:
        assert len(store.attempts()) == 5

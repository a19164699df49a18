"""A PostgreSQL server of the tests' own: in a temporary folder, reached by a socket in it, and gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import psycopg

USER, PASSWORD = "bench", "s3cr3t-pw"
SETTINGS = "listen_addresses='' fsync=off full_page_writes=off max_connections=50 shared_buffers=16MB"


def programs() -> Path | None:
    """The folder of `initdb` and `pg_ctl`, which Debian keeps out of the path."""
    found = [Path(path).resolve().parent for path in [shutil.which("pg_ctl")] if path]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in found if (folder / "initdb").exists() and (folder / "pg_ctl").exists()), None)


class Cluster:
    """A running server; a context manager.

    Args:
        folder: of its programs, from `programs()`.
    """

    def __init__(self, folder: Path) -> None:
        self.programs = folder
        self.root = Path(tempfile.mkdtemp(prefix="bnnbench-postgres-", dir="/tmp"))  # sockets need a short path
        self.databases = 0
        # It refuses to run as root.
        self.user: dict[str, int] = {}
        if os.geteuid() == 0:
            names = {entry.pw_name: entry for entry in pwd.getpwall()}
            entry = names.get("postgres") or names["nobody"]
            self.user = {"user": entry.pw_uid, "group": entry.pw_gid}
            os.chown(self.root, entry.pw_uid, entry.pw_gid)

    def __enter__(self) -> Cluster:
        (self.root / "password").write_text(PASSWORD)
        (self.root / "password").chmod(0o644)
        login = ["-U", USER, "-A", "scram-sha-256", f"--pwfile={self.root}/password"]
        self._run("initdb", "-D", str(self.root / "data"), *login, "-E", "UTF8", "--locale=C", "--no-sync")
        settings = [f"{setting}\n" for setting in SETTINGS.split()]
        with (self.root / "data/postgresql.conf").open("a") as file:
            file.writelines([*settings, f"unix_socket_directories='{self.root}'\n"])
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop("immediate")
        shutil.rmtree(self.root)

    def start(self) -> None:
        self._run("pg_ctl", "-D", str(self.root / "data"), "-w", "-l", str(self.root / "log"), "start")

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "-D", str(self.root / "data"), "-w", "-m", mode, "stop")

    def url(self, database: str, password: str = PASSWORD) -> str:
        return f"postgresql://{USER}:{password}@/{database}?host={self.root}"

    def new(self) -> str:
        """URL of a new, empty database."""
        self.databases += 1
        name = f"test{self.databases}"
        login = {"host": str(self.root), "user": USER, "password": PASSWORD, "dbname": "postgres"}
        with psycopg.connect(**login, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")  # pyright: ignore[reportArgumentType]
        return self.url(name)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), *arguments]
        # The server keeps what it inherits, so its output goes to a file: nobody would see the end of a pipe.
        done = subprocess.run(
            command,
            cwd=self.root,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            **self.user,
        )
        assert done.returncode == 0, done.stderr

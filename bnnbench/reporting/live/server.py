"""The page by HTTP: two addresses, read only, for browsers of this machine unless another host is asked for.

Python's own server is enough for it: no route but `/` and `/state`, no file that a path could name, no input but the
few headers read here. Every refusal is one sentence.
"""

from __future__ import annotations

import errno
import ipaddress
import json
import logging
import os
import re
import socket
import sys
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, Self
from urllib.parse import urlsplit

from bnnbench.errors import UserError
from bnnbench.reporting.live.builder import LOCK_S, Builder
from bnnbench.reporting.live.shown import Shown
from bnnbench.reporting.superseded import Installed
from bnnbench.store.address import Address
from bnnbench.store.pulse import pulse

PATIENCE_S = 3.0  # a request waits so long for a page that is being made
IDLE_S = 30.0  # after which a silent connection is closed
LOOPBACK = ("localhost", "127.0.0.1", "::1")
MOST_PORT = 65535
SENTENCES = {
    404: "There is nothing at this address; the page is at /.",
    405: "This server is only read: it answers GET and HEAD.",
    421: "This server does not answer to that name; open the address that it printed, or give it --host NAME.",
}
HEADERS = {
    "Cache-Control": "no-cache",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
FRAMED = "frame-ancestors 'none'"  # which a page cannot say of itself; all else stands in it
_FAULTS = {
    errno.EADDRINUSE: "Port {port} of {host} is in use by another program; give another --port, or 0 for any free one.",
    errno.EACCES: "Port {port} is not for this user; give a --port of 1024 or more, or 0 for any free one.",
    errno.EADDRNOTAVAIL: "--host {host} is no address of this machine; leave it out, or give one that is.",
}
log = logging.getLogger(__name__)


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version, timeout = "HTTP/1.1", IDLE_S
    server: _Server

    def do_GET(self) -> None:
        """The page, or its state."""
        if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:  # a body that nobody reads
            self.close_connection = True
        if not self.server.answers_to(self.headers.get_all("Host", [])):
            return self.send_error(421)
        answer = {"/": self._page, "/index.html": self._page, "/state": self._state}.get(self.path.partition("?")[0])
        return self.send_error(404) if answer is None else answer()

    do_HEAD = do_GET

    def _page(self) -> None:
        shown = self.server.builder.ask(PATIENCE_S)
        about = {"ETag": f"W/{shown.tag}", "Vary": "Accept-Encoding", "Content-Security-Policy": FRAMED}
        if shown.status == 200 and held(self.headers.get("If-None-Match", ""), shown):
            return self._send(304, b"", **about)
        about |= {"Content-Type": "text/html; charset=utf-8", **({"Retry-After": "2"} if shown.status == 503 else {})}
        if takes_gzip(self.headers.get("Accept-Encoding", "")):
            return self._send(shown.status, shown.zipped, **about, **{"Content-Encoding": "gzip"})
        return self._send(shown.status, shown.body, **about)

    def _state(self) -> None:
        shown = self.server.builder.ask()
        text = json.dumps({"state": shown.state, "problem": shown.problem})
        self._send(200, text.encode(), **{"Content-Type": "application/json", "Cache-Control": "no-store"})

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse in a sentence; what is asked for stands nowhere in it."""
        code = 405 if code == 501 else code  # how the base class calls a method that it does not know
        self.close_connection = True
        text = SENTENCES.get(code, "This is no request that the server understands.")
        more = {"Allow": "GET, HEAD"} if code == 405 else {}
        policy = f"default-src 'none'; {FRAMED}"
        kind = "text/plain; charset=utf-8"
        self._send(code, f"{text}\n".encode(), **more, **{"Content-Type": kind, "Content-Security-Policy": policy})

    def _send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in (HEADERS | headers).items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def version_string(self) -> str:
        """Nothing of versions."""
        return "bnnbench"

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not worth a line on the terminal."""
        log.debug(format, *args)


def held(header: str, shown: Shown) -> bool:
    """Whether a browser has this page already, by its If-None-Match."""
    return bool({"*", shown.tag} & {tag.strip().removeprefix("W/") for tag in header.split(",")})


def takes_gzip(header: str) -> bool:
    """Whether an Accept-Encoding names gzip, and not as what is not wanted."""
    parts = [part.strip().lower().partition(";") for part in header.split(",")]
    return any(name.strip() == "gzip" and not re.fullmatch(r"\s*q=0(\.0*)?\s*", q) for name, _, q in parts)


class _Server(ThreadingMixIn, TCPServer):
    """A thread a connection; not `http.server.HTTPServer`, which asks for names in the network."""

    daemon_threads, block_on_close, request_queue_size = True, False, 32
    allow_reuse_address = sys.platform != "win32"  # there it would let two servers have one port

    def __init__(self, builder: Builder, host: str, port: int) -> None:
        self.builder, self._names, self._open = builder, {*LOOPBACK, host.lower()}, set[socket.socket]()
        self.address_family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        super().__init__((str(address[0]), port), Handler)
        self.place = ipaddress.ip_address(str(self.server_address[0]))
        if not self.place.is_loopback:
            self._names.add(socket.gethostname().lower())

    def answers_to(self, hosts: list[str]) -> bool:
        """Whether a request means this server, by its Host: a page of another site may have a name that resolves to
        this machine (DNS rebinding), and would then read the results.

        Of a server for other machines any address will do: a site that rebinds has a name.
        """
        try:
            (name,) = (urlsplit(f"//{host}").hostname or "" for host in hosts)
        except ValueError:  # none, several, or no host at all
            return False
        return name in self._names or (not self.place.is_loopback and _is_address(name))

    def get_request(self) -> tuple[Any, Any]:
        """A new connection."""
        connection, address = super().get_request()
        self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        """The end of a connection."""
        self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """The end of all: also of connections that browsers keep for later."""
        super().server_close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that leaves is no error; any other one is for the terminal."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            log.exception("A request could not be answered.")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class Serving:
    """A page that is served by threads of this process until it is closed; a context manager.

    Args:
        db: only read. installed: as of `bnnbench.reporting.build.build`.
        host: a name or an address of this machine. port: 0 for any free one.

    Attributes:
        name: the database. url: where its page is.
        loopback: whether only this machine can reach it.

    Raises:
        UserError: there is no such database, or no such place to serve it.
    """

    def __init__(self, db: str | os.PathLike[str], installed: Installed | None, host: str, port: int) -> None:
        pulse(db, LOCK_S)  # what is no database is refused here
        self.name, self._builder = str(Address.parse(db)), Builder(db, installed)
        self._server = _bound(self._builder, host, port)
        own = self._server.place
        self.loopback = own.is_loopback
        shown = ("::1" if own.version == 6 else "127.0.0.1") if own.is_unspecified else host
        self.url = f"http://{f'[{shown}]' if ':' in shown else shown}:{self._server.server_address[1]}/"
        self._builder.ask()  # so that it is ready when a browser comes
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Until it is closed, or interrupted."""
        while self._thread.is_alive():
            self._thread.join(1.0)  # on Windows no interrupt comes through an endless one

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()
        self._builder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _bound(builder: Builder, host: str, port: int) -> _Server:
    try:
        return _Server(builder, host, port)
    except (socket.gaierror, ValueError) as error:  # the second: what no name of a host can hold
        raise UserError(f"--host {host!r:.80} names no machine; leave it out, or give a name or an address.") from error
    except OSError as error:
        other = f"--host {{host}} --port {{port}} cannot be served ({error.strerror or error}); give others."
        raise UserError(_FAULTS.get(error.errno or 0, other).format(host=host, port=port)) from error

"""ClickHouse's engine behind HTTP: a front over chDB that only forwards, so that drivers meet a ClickHouse server.

Run as a process of its own by `meterline.stack.clickhouse`. Each request is a handle of its own on the one engine:
database, settings and parameters of the query string end with it, and requests run side by side. `POST /refuse?code=N`
makes every statement fail with that error of ClickHouse until `POST /accept`; `/ping` answers all the same.
Source: ClickHouse, "HTTP interface".
"""

import argparse
import gzip
import re
import signal
import tempfile
import threading
from base64 import b64decode
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

# What the HTTP interface consumes itself; everything else in a query string is a setting of the statement.
_TRANSPORT: Final = frozenset(
    (
        "query",
        "database",
        "user",
        "password",
        "session_id",
        "session_timeout",
        "session_check",
        "query_id",
        "quota_key",
        "compress",
        "decompress",
        "default_format",
        "buffer_size",
        "wait_end_of_query",
        "client_protocol_version",
        "role",
        "enable_http_compression",
        "send_progress_in_http_headers",
        "http_headers_progress_interval_ms",
    )
)
_INSERT: Final = re.compile(rb"\s*(INSERT\s+INTO\s+.+?)\s+FORMAT\s+(\w+)\n", re.IGNORECASE | re.DOTALL)
_FORMAT: Final = re.compile(r"\bFORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)
_ANSWERS: Final = ("SELECT", "WITH", "SHOW", "DESC", "EXISTS", "EXPLAIN")
_CODE: Final = re.compile(r"Code: (\d+)")
_NAME: Final = re.compile(r"\w+")
_AUTHENTICATION_FAILED: Final = 516


class Front(ThreadingHTTPServer):
    """The server over one engine, whose data lie in `folder`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, folder: Path, port: int, account: tuple[str, str]) -> None:
        import chdb  # noqa: PLC0415 - 200 MB and a second; only this process pays

        self.path = str(folder / "data")
        self.spool = folder / "spool"
        self.spool.mkdir(parents=True, exist_ok=True)
        for left in self.spool.iterdir():
            left.unlink()
        self.account = account
        self.refusing = 0
        self._connect = chdb.connect
        self.engine = self.handle()  # keeps the engine open between requests
        self.zone = self.engine.query("SELECT timezone()", "TSV").bytes().decode().strip()
        super().__init__(("127.0.0.1", port), Request)

    def handle(self) -> Any:
        """Open a handle on the engine."""
        return self._connect(self.path)  # type: ignore[no-untyped-call] # chDB's own

    def run(self, statement: bytes, arguments: Mapping[str, str]) -> tuple[str, bytes]:
        """Run one statement; returns the format of its answer (empty: none) and the answer."""
        handle = self.handle()
        try:
            if arguments.get("database"):
                handle.query(f"USE {_quoted(arguments['database'], '`')}")
            for name, value in arguments.items():
                if name not in _TRANSPORT and not name.startswith("param_") and _NAME.fullmatch(name):
                    handle.query(f"SET {name} = {_quoted(value)}")
            inserted = _INSERT.match(statement)
            if inserted:
                self._insert(handle, inserted, statement)
                return "", b""
            text = statement.decode()
            kept = _FORMAT.search(text)
            form = kept[1] if kept else arguments.get("default_format", "TabSeparated")
            bound = {name.removeprefix("param_"): text for name, text in arguments.items() if name.startswith("param_")}
            found = handle.query(text, form, params=bound).bytes()
            return form if kept or text.lstrip().upper().startswith(_ANSWERS) else "", found
        finally:
            handle.close()

    def _insert(self, handle: Any, inserted: re.Match[bytes], statement: bytes) -> None:
        with tempfile.NamedTemporaryFile(dir=self.spool) as file:
            file.write(memoryview(statement)[inserted.end() :])
            file.flush()
            handle.query(f"{inserted[1].decode()} FROM INFILE {_quoted(file.name)} FORMAT {inserted[2].decode()}")


class Request(BaseHTTPRequestHandler):
    """One connection, kept open."""

    server: Front
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Answer `/ping`, or run the statement of the query string."""
        self.do_POST()

    def do_POST(self) -> None:
        """Run a statement, or change what the server does."""
        parts = urlsplit(self.path)
        arguments = dict(parse_qsl(parts.query, keep_blank_values=True))
        body = self._body(arguments)
        if parts.path == "/ping":
            self._answer(200, b"Ok.\n")
        elif self._account(arguments) != self.server.account:
            self._fail(f"Code: {_AUTHENTICATION_FAILED}. DB::Exception: Authentication failed.", status=403)
        elif parts.path in ("/refuse", "/accept"):
            self.server.refusing = int(arguments.get("code", "0"))
            self._answer(200, b"Ok.\n")
        elif self.server.refusing:
            self._fail(f"Code: {self.server.refusing}. DB::Exception: refused, as it was told.")
        else:
            self._run(body, arguments)

    def _run(self, body: bytes, arguments: Mapping[str, str]) -> None:
        query = arguments.get("query", "").encode()
        try:
            form, found = self.server.run(query + b"\n" * bool(query and body) + body, arguments)
        except Exception as error:  # noqa: BLE001 - whatever the engine raises is the client's answer
            self._fail(str(error))
            return
        self._answer(200, found, {"X-ClickHouse-Format": form} if form else {})

    def _body(self, arguments: dict[str, str]) -> bytes:
        """Read the body, unpacked; the fields of a form join the arguments."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            chunks = []
            # A client that goes away leaves no size to read: the request ends here, nothing of it is done.
            while size := int(self.rfile.readline().split(b";")[0], 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            body = b"".join(chunks)
        else:
            length = int(self.headers.get("Content-Length", "0"))
            body = self.rfile.read(length)
            if len(body) < length:
                raise ConnectionResetError("the client went away within its request")
        kind = self.headers.get("Content-Type", "")
        if kind.startswith("multipart/form-data"):
            for part in body.split(b"--" + kind.split("boundary=")[1].encode())[1:-1]:
                head, _, value = part.partition(b"\r\n\r\n")
                arguments[head.split(b'name="')[1].split(b'"')[0].decode()] = value.removesuffix(b"\r\n").decode()
            return b""
        return _unpacked(body, self.headers.get("Content-Encoding", ""))

    def _account(self, arguments: Mapping[str, str]) -> tuple[str, str]:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme == "Basic":
            user, _, password = b64decode(token).decode().partition(":")
            return user, password
        headers = self.headers
        return (
            headers.get("X-ClickHouse-User", arguments.get("user", "default")),
            headers.get("X-ClickHouse-Key", arguments.get("password", "")),
        )

    def _fail(self, words: str, status: int = 500) -> None:
        code = _CODE.search(words)
        self._answer(status, words.encode() + b"\n", {"X-ClickHouse-Exception-Code": code[1] if code else "1001"})

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "X-ClickHouse-Timezone": self.server.zone}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Keep quiet: a line a request would fill the disk in a load test."""


def _unpacked(body: bytes, encoding: str) -> bytes:
    if encoding == "lz4":
        import lz4.frame  # noqa: PLC0415 - a packed insert alone needs it

        plain = []
        while body:  # a frame a block
            unpacker = lz4.frame.LZ4FrameDecompressor()
            plain.append(unpacker.decompress(body))
            body = unpacker.unused_data or b""
        return b"".join(plain)
    return gzip.decompress(body) if encoding == "gzip" else body


def _quoted(text: str, mark: str = "'") -> str:
    escaped = text.replace("\\", "\\\\").replace(mark, "\\" + mark)
    return f"{mark}{escaped}{mark}"


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--user", required=True)
    parser.add_argument("--password", required=True)
    given = parser.parse_args()
    front = Front(given.folder, given.port, (given.user, given.password))
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=front.shutdown).start())
    front.serve_forever()
    front.server_close()
    front.engine.close()


if __name__ == "__main__":
    main()

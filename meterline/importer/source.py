"""Reading rows from CSV, JSON lines and Parquet, one after the other, whatever is wrong with some of them.

Invariant: rows are numbered in the order of the file, bad ones included, so that a key never depends on other rows.
"""

import csv
import hashlib
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec

from kernel.errors import Misconfigured
from meterline.importer.row import FILE_KEY_CHARS, Row

_PIECE_BYTES: Final = 1 << 20


class SourceFile(msgspec.Struct, frozen=True):
    """One file: `key` names its bytes, `lines` is their count, a guess at the rows for the progress bar."""

    path: Path
    format: str
    key: str
    lines: int
    columns: set[str] | None


def open_source(path: Path) -> SourceFile:
    """Look at a file: its format by its name's end, its digest, its header. Raises Misconfigured."""
    kind = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}.get(path.suffix.lower())
    if kind is None:
        raise Misconfigured(f"{path.name} is none of .csv, .jsonl, .parquet: name the file by what it holds")
    if not path.is_file():
        raise Misconfigured(f"there is no file {path}")
    digest, lines = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
            lines += piece.count(b"\n")
    columns = _header(path) if kind == "csv" else None
    return SourceFile(path, kind, digest.hexdigest()[:FILE_KEY_CHARS], lines, columns)


def rows_of(source: SourceFile) -> Iterator[Row]:
    """Read the rows in order, in little memory."""
    match source.format:
        case "csv":
            return _csv_rows(source.path)
        case "jsonl":
            return _json_rows(source.path)
        case _:
            return _parquet_rows(source.path)


def _header(path: Path) -> set[str]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        names = next(csv.reader(file), [])
    if not names or len(set(names)) != len(names):
        raise Misconfigured(f"{path.name} needs a first line with the columns' names, each once")
    return set(names)


def _csv_rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file)
        names = next(reader)
        number = 0
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Row(number, line, {}, f"is not CSV: {error}")
                number += 1
                continue
            if not cells:
                continue
            yield Row(number, line, dict(zip(names, cells, strict=False)), _cells_error(names, cells))
            number += 1


def _cells_error(names: list[str], cells: list[str]) -> str | None:
    if len(cells) != len(names):
        return f"has {len(cells)} cells, the header has {len(names)}"
    if any(not cell.isascii() and any("\udc80" <= c <= "\udcff" for c in cell) for cell in cells):
        return "is not UTF-8"
    return None


def _json_rows(path: Path) -> Iterator[Row]:
    number = 0
    with path.open("rb") as file:
        for line, data in enumerate(file, 1):
            if not data.strip():
                continue
            yield _json_row(number, line, data)
            number += 1


def _json_row(number: int, line: int, data: bytes) -> Row:
    try:
        value: Any = json.loads(data, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        return Row(number, line, {}, f"is not JSON: {error}")
    if not isinstance(value, dict):
        return Row(number, line, {}, "is not a JSON object")
    return Row(number, line, value)


def _parquet_rows(path: Path) -> Iterator[Row]:
    """Read Parquet with chDB, in the file's order; times that the file says are UTC get a `Z`."""
    from chdb.session import Session  # noqa: PLC0415 - 300 MB of library, needed for this format alone

    quoted = "'" + str(path.resolve()).replace("\\", "\\\\").replace("'", "\\'") + "'"
    session: Any = Session()  # type: ignore[no-untyped-call]  # chDB has no types
    try:
        described = session.query(f"DESCRIBE file({quoted}, Parquet)", "JSONEachRow").bytes().splitlines()
        zoned = [row["name"] for row in map(json.loads, described) if "DateTime" in row["type"] and "'" in row["type"]]
        settings = "max_threads = 1, input_format_parquet_preserve_order = 1, session_timezone = 'UTC'"
        stream = session.send_query(
            f"SELECT * FROM file({quoted}, Parquet) SETTINGS {settings}, output_format_json_quote_decimals = 0,"
            " output_format_json_quote_64bit_integers = 0",
            "JSONEachRow",
        )
        number, rest = 0, b""
        for chunk in stream:
            *lines, rest = (rest + chunk.bytes()).split(b"\n")
            for data in lines:
                yield _zoned(_json_row(number, number + 1, data), zoned)
                number += 1
        if rest.strip():
            yield _zoned(_json_row(number, number + 1, rest), zoned)
    finally:
        session.close()


def _zoned(row: Row, names: list[str]) -> Row:
    for name in names:
        if isinstance(row.columns.get(name), str):
            row.columns[name] += "Z"
    return row

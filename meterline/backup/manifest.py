"""A backup's manifest: what the folder holds, and which state of the deployment that is.

Invariants: it is written last, so a folder without one is no backup; a format that this program does not know is
refused, never guessed.
"""

import os
from pathlib import Path
from typing import Final

import msgspec

from kernel.errors import Misconfigured

FORMAT: Final = 1
_NAME: Final = "manifest.json"


class TableFile(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One table in one file: gzip, a row a line, a JSON array in the order of `columns`. `digest` is the file's."""

    file: str
    table: str
    columns: tuple[str, ...]
    rows: int
    bytes: int
    digest: str


class LaneCover(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a lane's records are in RAW: all below `next`; `asked` was the log's end when the backup began."""

    lane: int
    asked: int
    next: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a folder holds. `made_ms` and `made` are the same instant; `schema` is the newest migration."""

    format: int
    program: str
    made: str
    made_ms: int
    schema: str
    epoch: int
    lanes: int
    covered: tuple[LaneCover, ...]
    sql: tuple[TableFile, ...]
    raw: tuple[TableFile, ...]


class _Form(msgspec.Struct):
    format: int


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Make the folder a backup: on the disk with all its files when this returns."""
    part = folder / f"{_NAME}.part"
    with part.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(folder / _NAME)
    sync_folder(folder)


def read_manifest(folder: Path) -> Manifest:
    """Read what a folder holds. Raises Misconfigured for a folder that is no backup, or one of another format."""
    try:
        data = (folder / _NAME).read_bytes()
    except OSError:
        raise Misconfigured(f"{folder} is no backup, or one that did not end: it has no {_NAME}") from None
    try:
        form = msgspec.json.decode(data, type=_Form).format
        if form != FORMAT:
            raise Misconfigured(f"{folder} is a backup of format {form}, this program reads {FORMAT}")
        return msgspec.json.decode(data, type=Manifest)
    except msgspec.DecodeError as error:
        raise Misconfigured(f"the manifest of {folder} cannot be read: {error}") from None


def sync_folder(folder: Path) -> None:
    """Put the names within a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

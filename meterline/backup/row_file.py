"""One table's rows in one file: gzip, a row a line, each a JSON array.

Files are read and written in threads, a page at a time, so that a server that is backed up goes on serving. Memory is
bounded by the page.
"""

import asyncio
import gzip
import itertools
import os
from collections.abc import AsyncIterator, Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import msgspec

from kernel.errors import Fatal
from meterline.backup.manifest import TableFile

# 5,000 rows of events are some 5 MB of Python; a step of a thread takes about 20 ms.
PAGE_ROWS: Final = 5_000
_DIGEST_BYTES: Final = 16
_BLOCK: Final = 1024 * 1024
# Rows of usage pack eight to one at the cheapest level; the dearest needs five times as long for a fifth less.
_LEVEL: Final = 1

Row = Sequence[Any]


async def write_rows(folder: Path, name: str, columns: Sequence[str], pages: AsyncIterator[Sequence[Row]]) -> TableFile:
    """Write a table's pages to `name`.jsonl.gz in `folder`; it is on the disk when this returns."""
    path = folder / f"{name}.jsonl.gz"
    count = 0
    file = path.open("xb")
    packed = gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=_LEVEL, mtime=0)
    try:
        async for page in pages:
            await asyncio.to_thread(packed.write, b"".join(_lines(page)))
            count += len(page)
        await asyncio.to_thread(packed.close)
        await asyncio.to_thread(_sync, file.fileno())
    finally:
        file.close()
    return TableFile(
        file=f"{folder.name}/{path.name}",
        table=str(name),  # SQLAlchemy's names are of a type of its own
        columns=tuple(str(column) for column in columns),
        rows=count,
        bytes=path.stat().st_size,
        digest=await asyncio.to_thread(_digest, path),
    )


async def check_file(root: Path, entry: TableFile) -> None:
    """Compare a file with the manifest. Raises Fatal when it is missing or another one."""
    try:
        digest = await asyncio.to_thread(_digest, root / entry.file)
    except OSError as error:
        raise Fatal(f"the backup is damaged: {entry.file} cannot be read ({error.strerror})") from None
    if digest != entry.digest:
        raise Fatal(f"the backup is damaged: {entry.file} is not the file that was written")


async def read_rows(root: Path, entry: TableFile, page_rows: int = PAGE_ROWS) -> AsyncIterator[list[list[Any]]]:
    """Read a table's rows, a page at a time."""
    with gzip.open(root / entry.file, "rb") as file:
        while page := await asyncio.to_thread(_page, file, page_rows):
            yield page


def _lines(page: Sequence[Row]) -> Iterable[bytes]:
    encoder = msgspec.json.Encoder()
    return (encoder.encode(row) + b"\n" for row in page)


def _page(file: Iterable[bytes], count: int) -> list[list[Any]]:
    decoder = msgspec.json.Decoder(list[Any])
    return [decoder.decode(line) for line in itertools.islice(file, count)]


def _digest(path: Path) -> str:
    digest = blake2b(digest_size=_DIGEST_BYTES)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _sync(descriptor: int) -> None:
    os.fsync(descriptor)

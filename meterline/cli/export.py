"""The export command's work: the operation writes lines, and chDB makes Parquet of them."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any, Final

from kernel.errors import Fatal, Misconfigured
from kernel.settings import Settings
from meterline.cli.call import call

FORMATS: Final = ("jsonl", "csv", "parquet")
# A process of its own: chDB holds one store a process, and here it needs none.
_TO_PARQUET: Final = """
import sys
from chdb.session import Session
session = Session()
source, target = (path.replace("\\\\", "\\\\\\\\").replace("'", "\\\\'") for path in sys.argv[1:])
columns = (
    "id String, customerId String, externalId Nullable(String), featureCode String, value Decimal(38, 9),"
    " timestamp DateTime64(6, 'UTC'), acceptedAt DateTime64(6, 'UTC'), eventId Nullable(String), verdict String,"
    " code Nullable(String), window Nullable(Date32), windowEnd Nullable(Date32), cut Nullable(UInt32),"
    " original Nullable(String), replays Nullable(String), corrects Nullable(String), pool Nullable(String),"
    " cost Nullable(Decimal(38, 9)),"
    " drawnPlan Nullable(Decimal(38, 9)), drawnPacks Nullable(Decimal(38, 9)), drawnTopUps Nullable(Decimal(38, 9)),"
    " overdraft Nullable(Decimal(38, 9)), model Nullable(String), inputTokens Nullable(UInt64),"
    " outputTokens Nullable(UInt64), cacheReadTokens Nullable(UInt64), cacheWriteTokens Nullable(UInt64),"
    " inputCost Nullable(String), outputCost Nullable(String), cacheReadCost Nullable(String),"
    " cacheWriteCost Nullable(String), baseCost Nullable(String), marginPercent Nullable(String),"
    " priceVersion Nullable(String), properties Map(String, String)"
)
session.query(
    f"SELECT * FROM file('{source}', JSONEachRow, $${columns}$$) INTO OUTFILE '{target}' TRUNCATE FORMAT Parquet"
    " SETTINGS date_time_input_format = 'best_effort', max_threads = 1"
)
session.close()
"""


async def export_file(settings: Settings, organization: str, output: Path, kind: str) -> dict[str, Any]:
    """Export to `output`. Raises Misconfigured and Fatal."""
    if kind not in FORMATS:
        raise Misconfigured(f"--format is {kind!r}: set it to {', '.join(FORMATS)}")
    output = Path(os.path.abspath(output))  # noqa: ASYNC240, PTH100 - one look at a path, before anything runs
    if kind != "parquet":
        return await call(settings, "export", {"organization": organization, "format": kind, "output": str(output)})
    lines = output.with_name(output.name + ".jsonl")
    try:
        params = {"organization": organization, "format": "jsonl", "output": str(lines)}
        result = await call(settings, "export", params)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _TO_PARQUET, str(lines), str(output), stderr=asyncio.subprocess.PIPE
        )
        _, stderr = await process.communicate()
        if process.returncode != 0:
            raise Fatal(f"Parquet could not be written: {stderr.decode(errors='replace')[-500:]}")
        return {**result, "file": str(output)}
    finally:
        lines.unlink(missing_ok=True)

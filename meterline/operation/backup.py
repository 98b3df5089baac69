"""The operation that writes a backup of the running deployment. Restoring needs stores that nobody has open."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from meterline.backup.take import take_backup

if TYPE_CHECKING:
    from meterline.app import App


async def backup(app: "App", params: dict[str, Any]) -> dict[str, Any]:
    """Write a backup to the absolute path `folder`; returns its manifest."""
    manifest: dict[str, Any] = msgspec.to_builtins(await take_backup(app, Path(str(params["folder"]))))
    return manifest

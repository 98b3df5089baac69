"""The embedded engine as one process, `meterline serve`; its two Valkey servers are its children and die with it."""

import secrets
from pathlib import Path

from kernel.settings import Settings
from meterline.stack.role_process import RoleProcess


class EmbeddedProcess(RoleProcess):
    """Everything in one process over `data_dir`, with one sandbox key."""

    def __init__(self, data_dir: Path, *, api_key: str | None = None) -> None:
        self.api_key = api_key or "ck_sandbox_" + secrets.token_hex(16)
        super().__init__(data_dir.parent, "all", {}, api_key=self.api_key, name=data_dir.name)

    @property
    def settings(self) -> Settings:
        """Tell the settings for commands beside it."""
        return Settings(data_dir=self.folder)

"""Where the operator's socket of a data folder is; for the server that binds it and the commands that speak to it."""

from pathlib import Path
from typing import Final

SOCKET_NAME: Final = "operator.sock"
SOCKET_PATH_BYTES_MAX: Final = 100  # the kernel's limit is 108
PREFIX: Final = "/operator/"


def socket_path(data_dir: Path) -> Path:
    """Tell where the socket of a data folder is."""
    return data_dir.resolve() / SOCKET_NAME

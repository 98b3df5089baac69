"""What a process is for: the roles of a deployment, and which parts of the pipeline each runs.

Source: DESIGN 7; ADR 5.
"""

from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """A process's role. `operator` is a command that an operator runs, not a server."""

    ALL = "all"
    GATEWAY = "gateway"
    AGGREGATOR = "aggregator"
    BILLING = "billing"
    OPERATOR = "operator"

    @property
    def serves(self) -> bool:
        """Tell whether it takes requests: usage, reads, management."""
        return self in (Role.ALL, Role.GATEWAY)

    @property
    def folds(self) -> bool:
        """Tell whether it folds and sinks lanes."""
        return self in (Role.ALL, Role.AGGREGATOR)

    @property
    def bills(self) -> bool:
        """Tell whether it relays accounts and closes periods by itself."""
        return self in (Role.ALL, Role.BILLING)


# From which level a command logs: it tells what it did by its own output.
COMMANDS_LOG: Final = "error"
SERVERS = (Role.ALL, Role.GATEWAY, Role.AGGREGATOR, Role.BILLING)

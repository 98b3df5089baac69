"""What an operator may do, each as one function of the opened application and its parameters, JSON in and out.

The command line and the operator's socket call these by name; nothing here prints, parses or ends a process.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from meterline.operation import backup, catalog, event, explain, export, organization, prices, proof, replay

Operation = Callable[[Any, dict[str, Any]], Awaitable[dict[str, Any]]]

OPERATIONS: Final[Mapping[str, Operation]] = {
    "audit": proof.audit,
    "backup": backup.backup,
    "rebuild": proof.rebuild,
    "close": proof.close,
    "migrate": proof.migrated,
    "explain": explain.explain,
    "export": export.export,
    "replay": replay.replay,
    "event_void": event.void,
    "event_amend": event.amend,
    "org_create": organization.create,
    "org_list": organization.listed,
    "keys_create": organization.create_a_key,
    "keys_list": organization.listed_keys,
    "keys_revoke": organization.revoke,
    "catalog_apply": catalog.apply,
    "catalog_diff": catalog.diff,
    "catalog_export": catalog.export,
    "prices_refresh": prices.refresh,
    "prices_import": prices.import_file,
}

__all__ = ["OPERATIONS", "Operation"]

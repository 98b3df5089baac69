"""The gateway between HTTP and the log: admission, and the hub where the fold's verdicts arrive."""

from ingest.gateway.admission import Admission
from ingest.gateway.call import Call, CatalogReader
from ingest.gateway.hub import VerdictHub
from ingest.gateway.listener import VerdictListener

__all__ = ["Admission", "Call", "CatalogReader", "VerdictHub", "VerdictListener"]

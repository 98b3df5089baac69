"""The catalog for everybody else: the cached view, and what route modules share. Public contract of `catalog`."""

from catalog.gateway.catalog import Catalog

__all__ = ["Catalog"]

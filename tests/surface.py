"""Litestar applications for tests, lent one after the other.

Building one takes a quarter of a second and it keeps nothing of a request, so the next test gets the same with its own
objects behind it. Two that are open at once are two.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from litestar import Litestar
from litestar.types import ControllerRouterHandler

from billing.routes import LINKED
from meterline.http import litestar_app

_idle: dict[tuple[object, ...], list[tuple[Litestar, dict[str, Any]]]] = {}


@contextmanager
def surface(routes: Sequence[ControllerRouterHandler], dependencies: Mapping[str, Any]) -> Iterator[Litestar]:
    """Lend an application of these routes over these objects."""
    shelf = _idle.setdefault((*routes, *sorted(dependencies)), [])
    if shelf:
        app, held = shelf.pop()
        held.update(dependencies)
    else:
        held = dict(dependencies)
        app = litestar_app(routes, held, [one for one in LINKED if one in routes])
    try:
        yield app
    finally:
        held.update(dict.fromkeys(held))
        shelf.append((app, held))

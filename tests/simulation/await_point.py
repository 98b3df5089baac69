"""Every await of the workers, taken from the source, and which of them were hit: by a crash, by a failing store.

A point is (file, first line, last line, function). A crash hits every await in the chain of every task of the process
that dies; a failure hits those in the chain of the call that fails.
"""

import ast
import sys
from functools import cache
from pathlib import Path
from types import CodeType, CoroutineType, FrameType

ROOT = Path(__file__).parents[2]
# Gateway, aggregator, sink, relay and closer.
WATCHED = (
    "ingest/gateway/admission.py",
    "ingest/gateway/call.py",
    "ingest/gateway/hub.py",
    "ingest/gateway/listener.py",
    "aggregator/worker/condenser.py",
    "aggregator/worker/key_lookup.py",
    "aggregator/worker/lane.py",
    "aggregator/worker/lanes.py",
    "aggregator/worker/ownership.py",
    "aggregator/worker/rebuild.py",
    "aggregator/worker/sink.py",
    "billing/worker/changing.py",
    "billing/worker/closer.py",
    "billing/worker/cut_wait.py",
    "billing/worker/relay.py",
    "billing/worker/settling.py",
    "billing/worker/stepping.py",
    "billing/worker/writing.py",
    "catalog/gateway/catalog.py",
)


class Point(tuple):
    """One await: (file, line, end line, function)."""

    __slots__ = ()

    def __str__(self) -> str:
        file, line, _, function = self
        return f"{file}:{line} {function}"


@cache
def points() -> tuple[Point, ...]:
    found = []
    for name in WATCHED:
        tree = ast.parse((ROOT / name).read_text())
        _walk(tree, name, "", found)
    return tuple(sorted(set(found)))


def _walk(node, name, function, found) -> None:
    for child in ast.iter_child_nodes(node):
        inside = child.name if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function
        if isinstance(child, ast.Await):
            found.append(Point((name, child.lineno, child.end_lineno, inside)))
        elif isinstance(child, ast.AsyncWith):
            found.extend(
                Point((name, item.context_expr.lineno, item.context_expr.end_lineno, inside))
                for item in child.items
                if not ast.unparse(item.context_expr).startswith("asyncio.timeout(")  # which waits for nothing
            )
        elif isinstance(child, ast.AsyncFor) or (isinstance(child, ast.comprehension) and child.is_async):
            found.append(Point((name, child.iter.lineno, child.iter.end_lineno, inside)))
        _walk(child, name, inside, found)


@cache
def _by_file() -> dict[str, list[Point]]:
    found: dict[str, list[Point]] = {}
    for point in points():
        found.setdefault(str(ROOT / point[0]), []).append(point)
    return found


@cache
def at(filename: str, line: int) -> Point | None:
    """Find the innermost await at a line of a file."""
    inside = [point for point in _by_file().get(filename, ()) if point[1] <= line <= point[2]]
    return min(inside, key=lambda point: point[2] - point[1]) if inside else None


# By code and instruction: where a frame stands is asked at every step of a process that has to die somewhere.
_seen: dict[tuple[CodeType, int], Point | None] = {}


def _point_of(frame: FrameType) -> Point | None:
    place = frame.f_code, frame.f_lasti
    try:
        return _seen[place]
    except KeyError:
        found = _seen[place] = at(frame.f_code.co_filename, frame.f_lineno)
        return found


class Coverage:
    """Which points were hit, and how."""

    def __init__(self) -> None:
        self.crashed: set[Point] = set()
        self.failed: set[Point] = set()


def here() -> set[Point]:
    """Tell the awaits in the chain of the call that runs now."""
    found = set()
    frame = sys._getframe(1)
    while frame is not None:
        if point := _point_of(frame):
            found.add(point)
        frame = frame.f_back
    return found


def suspended(task) -> set[Point]:
    """Tell the awaits at which a task stands, from its outermost to its innermost."""
    found = set()
    step = task.get_coro()
    while step is not None:
        if type(step) is CoroutineType:
            frame, following = step.cr_frame, step.cr_await
        else:
            frame = getattr(step, "ag_frame", None) or getattr(step, "gi_frame", None)
            following = getattr(step, "ag_await", None) or getattr(step, "gi_yieldfrom", None)
        if frame is None:
            break
        if point := _point_of(frame):
            found.add(point)
        step = following
    return found

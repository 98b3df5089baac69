"""Which installed distributions Meterline does not need at run time. The image takes them out (`Dockerfile`).

`python -m meterline.unneeded` prints their names, one a line. `requirements.lock` pins what runs and what develops in
one list, so that tests see the versions that run; this module tells the two apart by what the distributions require.
"""

import re
import sys
from importlib.metadata import Distribution, distributions
from typing import Final

_PROJECT: Final = "meterline"
_REQUIREMENT: Final = re.compile(r"^([A-Za-z0-9._-]+)\s*(?:\[([^\]]*)\])?")
_EXTRA: Final = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def needed(installed: dict[str, Distribution], project: str = _PROJECT) -> set[str]:
    """Tell what `project` requires, directly or not, with the extras that are asked for and no others.

    Other markers (of platforms and versions) are not read: what is installed and named by one is kept.
    """
    found: set[str] = set()
    seen: set[tuple[str, str]] = set()
    open_: list[tuple[str, str]] = [(project, "")]
    while open_:
        name, extra = open_.pop()
        if (name, extra) in seen or name not in installed:
            continue
        seen.add((name, extra))
        found.add(name)
        for requirement in installed[name].requires or []:
            marker = _EXTRA.search(requirement)
            match = _REQUIREMENT.match(requirement)
            if match is None or (marker is not None and marker[1] != extra):
                continue
            extras = ["", *(one.strip() for one in (match[2] or "").split(",") if one.strip())]
            open_ += [(_canonical(match[1]), one) for one in extras]
    return found


def unneeded() -> list[str]:
    """List the installed distributions that are not needed, by name; none of them when the project is not installed."""
    installed = {_canonical(one.metadata["Name"]): one for one in distributions()}
    if _PROJECT not in installed:
        return []
    return sorted(installed.keys() - needed(installed))


if __name__ == "__main__":
    sys.stdout.write("".join(f"{name}\n" for name in unneeded()))

"""Pages of the documentation that are made from the code.

`python -m meterline.reference` writes `docs/settings.md`, `docs/limits.md` and the settings within
`docs/operations.md`; a test compares them.
"""

import ast
import inspect
from pathlib import Path
from typing import Final

from kernel import limits
from kernel.settings import settings_table

DOCS: Final = Path(__file__).parent.parent / "docs"
_BEGIN: Final = "<!-- begin: python -m meterline.reference -->"
_END: Final = "<!-- end -->"


def settings_page() -> str:
    """Render the settings."""
    return (
        "# Settings\n\nRead from the environment at the start; a wrong one stops it with a sentence that says what"
        f" to set. `meterline check-config` shows and checks them.\n\n{settings_table()}"
    )


def limits_page() -> str:
    """Render every limit with the argument that stands above it in `kernel/limits.py`."""
    source = inspect.getsource(limits)
    lines = source.splitlines()
    parts = ["# Limits\n\nNo settings: each number is argued. Sizes in bytes, times in milliseconds.\n"]
    for node in ast.parse(source).body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        argument: list[str] = []
        above = node.lineno - 2
        while above >= 0 and lines[above].startswith("#"):
            argument.insert(0, lines[above].lstrip("# "))
            above -= 1
        if argument:
            parts.append("\n" + " ".join(argument) + "\n\n| Limit | Value |\n| --- | --- |")
        elif len(parts) == 1:
            parts.append("| Limit | Value |\n| --- | --- |")
        value = getattr(limits, node.target.id)
        parts.append(f"| `{node.target.id}` | {value:,} |")
    return "\n".join(parts) + "\n"


def operations_page() -> str:
    """Give the operator's page as it is, with the settings between its two marks made anew."""
    before, _, rest = (DOCS / "operations.md").read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    assert after, f"docs/operations.md has the marks {_BEGIN} and {_END}"
    return f"{before}{_BEGIN}\n{settings_table()}{_END}{after}"


PAGES: Final = {"settings.md": settings_page, "limits.md": limits_page, "operations.md": operations_page}


def main() -> None:
    """Write the pages."""
    for name, page in PAGES.items():
        (DOCS / name).write_text(page())


if __name__ == "__main__":
    main()

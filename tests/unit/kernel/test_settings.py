from pathlib import Path

import msgspec
import pytest

from kernel.engine.opening import log_retention
from kernel.errors import Misconfigured
from kernel.settings import EMBEDDED, LANES_MAX, Settings, load_settings, settings_table

NAMES = [field.name for field in msgspec.structs.fields(Settings)]


def test_nothing_needs_to_be_set():
    assert load_settings({}) == Settings()


def test_the_environment_is_read():
    settings = load_settings(
        {"METERLINE_LANES": "7", "METERLINE_DATA_DIR": "/srv/meterline", "METERLINE_LOG_URL": "memory://"}
    )
    assert (settings.lanes, settings.data_dir, settings.log_url) == (7, Path("/srv/meterline"), "memory://")


def test_an_empty_variable_is_not_set():
    assert load_settings({"METERLINE_LANES": "", "METERLINE_LOG_URL": ""}) == Settings()


def test_what_the_caller_gives_wins_unless_it_is_none():
    assert load_settings({"METERLINE_LANES": "7"}, lanes=9).lanes == 9
    assert load_settings({"METERLINE_LANES": "7"}, lanes=None).lanes == 7
    assert load_settings({"METERLINE_LANES": "wrong"}, lanes=9).lanes == 9


@pytest.mark.parametrize(
    ("name", "value", "what_to_set"),
    [
        ("LANES", "many", "whole number"),
        ("LANES", "-1", f"from 1 to {LANES_MAX}"),
        ("LANES", str(LANES_MAX + 1), f"from 1 to {LANES_MAX}"),
        ("EMBEDDED_MEMORY_BYTES", "2GiB", "whole number"),
        ("EMBEDDED_MEMORY_BYTES", "-1", "0 or more"),
        ("LOG_RETAIN_BYTES", "-1", "0 or more"),
        ("LOG_RETAIN_MS", "-1", "0 or more"),
        ("LOG_CAPACITY_BYTES", "-1", "0 or more"),
        ("LOG_REPLICAS", "0", "1 or more"),
        ("KEYS_EXACT_DAYS", "8", "from 9 to 35"),
        ("KEYS_EXACT_DAYS", "36", "from 9 to 35"),
        ("SETTLE_MS", "-1", "0 or more"),
        ("SETTLE_MS", "1.5", "whole number"),
        ("CLOSE_EVERY_MS", "-1", "0 or more"),
        ("LOG_LEVEL", "loud", "debug, info, warning, error"),
        ("LOG_URL", "carrier-pigeon://", EMBEDDED),
        ("LIVE_URL", "valkey", EMBEDDED),
        ("LIVE_URL", "kafka://host:9092", "redis+cluster://"),
        ("RAW_URL", "/var/raw", "chdb://"),
        ("SQL_URL", "mysql://root@host", "sqlite://"),
    ],
)
def test_a_wrong_setting_says_what_to_set(name, value, what_to_set):
    with pytest.raises(Misconfigured) as caught:
        load_settings({f"METERLINE_{name}": value})
    assert str(caught.value).startswith(f"METERLINE_{name} is ")
    assert what_to_set in str(caught.value)


def test_how_much_of_the_log_is_kept_depends_on_what_carries_it():
    kafka = "kafka://one:9092"
    assert log_retention(Settings()) == (10 * 60_000, 256 * 1024**2)
    assert log_retention(Settings(log_url=kafka))[0] == 7 * 86_400_000
    assert log_retention(Settings(log_url=kafka))[1] > 2**60
    assert log_retention(Settings(log_retain_ms=5, log_retain_bytes=7)) == (5, 7)
    assert log_retention(Settings(log_url=kafka, log_retain_ms=5))[0] == 5


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("log_url", "kafka://a:9092,b:9092/prefix"),
        ("log_url", "redis://host:6379/0"),
        ("live_url", "rediss://host:6379/0"),
        ("live_url", "unix:///run/live.sock"),
        ("live_url", "redis+cluster://a:6379,b:6379"),
        ("raw_url", "http://user:password@host:8123/database"),
        ("sql_url", "postgresql://user:password@host/database"),
    ],
)
def test_urls_may_name_servers(name, url):
    assert getattr(load_settings({}, **{name: url}), name) == url


def test_an_override_is_checked_like_a_variable():
    with pytest.raises(Misconfigured, match="METERLINE_LANES"):
        load_settings({}, lanes=-1)


@pytest.mark.parametrize("name", NAMES)
def test_the_table_has_a_row_with_a_sentence_for_each_setting(name):
    rows = [row for row in settings_table().splitlines() if row.startswith(f"| `METERLINE_{name.upper()}` |")]
    assert len(rows) == 1
    default, meaning = (cell.strip() for cell in rows[0].strip("| ").split("|")[1:])
    assert default == f"`{getattr(Settings(), name)}`"
    assert meaning.endswith(".")


def test_the_table_has_no_other_rows():
    assert len(settings_table().splitlines()) == len(NAMES) + 2

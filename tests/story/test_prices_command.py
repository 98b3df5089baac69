"""`meterline prices`, and a server that has prices before its first request."""

import httpx
import pytest

from tests.story.harness import Server


def test_prices_are_refreshed_and_imported_from_the_command_line(tmp_path, monkeypatch):
    """R-AI-7, R-AI-8."""
    monkeypatch.setenv("METERLINE_PRICES_URL", "http://127.0.0.1:9/")
    server = Server(tmp_path)
    server.command("org", "create", "Shop")
    _, first = server.command("prices", "refresh")
    assert first["models"] >= 180
    assert first["added"] >= first["models"]
    assert first["away"]
    _, again = server.command("prices", "refresh")
    assert (again["edition"], again["added"]) == (None, 0)
    file = tmp_path / "prices.json"
    file.write_text('[{"model": "acme/one", "input": 0.1, "output": "0.2", "since": "2026-01-01"}]')
    assert server.command("prices", "import", str(file))[1] == {
        "edition": "prices.json",
        "models": 1,
        "added": 1,
        "away": None,
    }
    assert server.command("prices", "import", str(file))[1]["added"] == 0
    file.write_text('[{"model": "acme/one", "input": -1, "output": 1}]')
    code, said = server.told("prices", "import", str(file))
    assert (code, "line 1.input" in said) == (2, True), said


@pytest.mark.parametrize("every_ms", ["86400000", "0"])
def test_a_server_has_prices_before_its_first_request(tmp_path, monkeypatch, every_ms):
    monkeypatch.setenv("METERLINE_PRICES_REFRESH_MS", every_ms)
    monkeypatch.setenv("METERLINE_PRICES_URL", "none")
    server = Server(tmp_path).start()
    try:
        answer = httpx.get(server.url + "/api/v1/ai-models/gpt-4o", headers={"x-api-key": server.key})
        assert answer.status_code == (200 if every_ms != "0" else 404), answer.text
    finally:
        server.stop()

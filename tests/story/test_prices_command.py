"""`meterline prices`, and a server that has prices before its first request."""

import httpx

from tests.story.harness import Server


def status_of_a_model(server):
    return httpx.get(server.url + "/api/v1/ai-models/gpt-4o", headers={"x-api-key": server.key}).status_code


def test_prices_are_refreshed_and_imported_from_the_command_line(tmp_path, monkeypatch):
    """R-AI-7, R-AI-8: beside a server that takes in none by itself, and once on a folder that nobody holds."""
    monkeypatch.setenv("METERLINE_PRICES_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("METERLINE_PRICES_REFRESH_MS", "0")
    server = Server(tmp_path).start()
    try:
        assert status_of_a_model(server) == 404
        _, first = server.command("prices", "refresh")
        assert first["models"] >= 180
        assert first["added"] >= first["models"]
        assert first["away"]
        assert status_of_a_model(server) == 200
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
    finally:
        server.stop()
    _, again = server.command("prices", "refresh")
    assert (again["edition"], again["added"]) == (None, 0)


def test_a_server_has_prices_before_its_first_request(tmp_path, monkeypatch):
    monkeypatch.setenv("METERLINE_PRICES_REFRESH_MS", "86400000")
    monkeypatch.setenv("METERLINE_PRICES_URL", "none")
    server = Server(tmp_path).start()
    try:
        assert status_of_a_model(server) == 200
    finally:
        server.stop()

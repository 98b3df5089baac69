"""A small, patient caller of our own HTTP API: what may be repeated is repeated, byte for byte, within a budget."""

import asyncio
import random
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self

import httpx
import msgspec

from kernel.clock import Clock, SystemClock
from kernel.errors import NotReachable

PATIENCE_MS: Final = 60_000  # a restart with a rebuild ends well within it
PATIENCE_FIRST_MS: Final = 5_000  # a server that never answered is more likely a wrong URL
_PAUSE_MS_FIRST: Final = 20
_PAUSE_MS_MAX: Final = 1_000
_TIMEOUT_S: Final = 30
_REPEATED: Final = frozenset({429, 502, 503, 504})
_encoder = msgspec.json.Encoder(decimal_format="number")


class Answer(msgspec.Struct, frozen=True):
    """What the server said: `body` is its JSON, `tries` how often it was asked."""

    status: int
    body: Any
    tries: int

    @property
    def ok(self) -> bool:
        """Tell whether it is a success."""
        return self.status < 300  # noqa: PLR2004 - the standard's number

    @property
    def code(self) -> str:
        """Tell the error's code, for anything that is not a success."""
        return str(self.body.get("code", "unknown")) if isinstance(self.body, dict) else "unknown"

    @property
    def message(self) -> str:
        """Tell the error's words."""
        return str(self.body.get("message", "")) if isinstance(self.body, dict) else ""


class Api:
    """One organization's API. Management calls and usage alike; era D, so success is bare."""

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        connections: int = 16,
        clock: Clock | None = None,
        patience_ms: int = PATIENCE_MS,
    ) -> None:
        self._clock = clock or SystemClock()
        self._patience_ms = patience_ms
        self._answered = False
        self._client = httpx.AsyncClient(
            base_url=url.rstrip("/") + "/api/v1",
            headers={"x-api-key": api_key, "content-type": "application/json"},
            timeout=_TIMEOUT_S,
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def get(self, path: str, **query: str) -> Answer:
        """Read."""
        return await self.send("GET", path + ("?" + str(httpx.QueryParams(query)) if query else ""), None)

    async def post(self, path: str, body: object, *, key: str | None = None) -> Answer:
        """Write; `key` is the call's `Idempotency-Key`."""
        return await self.send("POST", path, _encoder.encode(body), key=key)

    async def send(self, method: str, path: str, content: bytes | None, *, key: str | None = None) -> Answer:
        """Send one request until there is a definite answer.

        Repeated are connection errors, time-outs, 429 and 503. Raises NotReachable when the budget is used up.
        """
        headers = {} if key is None else {"idempotency-key": key}
        started = self._clock.monotonic_ms()
        tries, pause_ms = 0, float(_PAUSE_MS_FIRST)
        while True:
            tries += 1
            reason, answer = await self._once(method, path, content, headers, tries)
            if answer is not None:
                return answer
            patience_ms = self._patience_ms if self._answered else min(self._patience_ms, PATIENCE_FIRST_MS)
            if self._clock.monotonic_ms() - started + pause_ms > patience_ms:
                raise NotReachable(f"{self._client.base_url} gave no definite answer in {tries} tries: {reason}")
            await asyncio.sleep(pause_ms * random.uniform(0.5, 1.5) / 1000)  # noqa: S311 - spreads retries, no secret
            pause_ms = min(pause_ms * 2, _PAUSE_MS_MAX)

    async def _once(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str], tries: int
    ) -> tuple[str, Answer | None]:
        try:
            response = await self._client.request(method, path, content=content, headers=headers)
        except httpx.TransportError as error:
            return f"{type(error).__name__} {error}".strip(), None
        self._answered = True
        if response.status_code in _REPEATED:
            return f"status {response.status_code}", None
        try:
            return "", Answer(response.status_code, msgspec.json.decode(response.content or b"null"), tries)
        except msgspec.DecodeError:
            return "", Answer(response.status_code, {"code": "unknown", "message": response.text[:200]}, tries)

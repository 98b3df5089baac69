"""One write, once: a transaction, its stored answer, and what has to be seen before it is answered.

A write with an `Idempotency-Key` is applied once in 24 hours and then answered as it was, refusals included.
Scope: organization, method, path and key; fingerprint: dialect and body. Source: contract 1.5; DESIGN 7.
"""

from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from typing import Final

import msgspec
from litestar import Response
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog.gateway.http import JSON, Caller, HttpRequest, request_id_of
from catalog.store.idempotency import StoredAnswer, find_answer, keep_answer, replace_answer
from catalog.store.version import read_version
from kernel import wire
from kernel.errors import Refusal, Rejected, invalid, rejected
from kernel.limits import KEY_BYTES_MAX

REPLAYED: Final = "Idempotent-Replayed"
_NEVER_STORED: Final = frozenset({408, 429})
_SERVER_ERROR: Final = 500

Work = Callable[[AsyncConnection], Awaitable[object]]
After = Callable[[], Awaitable[Mapping[str, str] | None]]


class _Claim(msgspec.Struct, frozen=True, kw_only=True):
    organization: str
    scope: str
    fingerprint: str


class _Done(msgspec.Struct, frozen=True, kw_only=True):
    status: int
    body: bytes
    version: int
    replayed: bool


async def once(
    request: HttpRequest, caller: Caller, work: Work, *, after: After | None = None, status: int = 200
) -> Response[bytes]:
    """Run `work` in one transaction and answer what it returns, in the caller's dialect.

    When the catalog changed, every gateway sees it before this answers; then `after` is awaited (not for a replay),
    which may give headers. `work` may run twice when another writer came between: it keeps nothing outside the
    transaction.
    """
    claim = await _claim(request, caller)
    try:
        try:
            done = await _run(caller, claim, work, status)
        except IntegrityError:
            done = await _run(caller, claim, work, status)
    except IntegrityError as error:
        raise rejected("duplicate", "Another request wrote the same at the same time.") from error
    except Rejected as error:
        if claim is None:
            raise
        await _keep_refusal(caller, claim, error.refusal, request_id_of(request))
        raise
    if done.version > caller.catalog.version or done.replayed:
        await caller.catalog.published(done.version)
    headers = {REPLAYED: "true"} if done.replayed else {}
    if after is not None and not done.replayed:
        headers.update(await after() or {})
    return Response(done.body, status_code=done.status, media_type=JSON, headers=headers)


async def kept_for_key(request: HttpRequest, caller: Caller, answer: Response[bytes]) -> Response[bytes]:
    """Keep what came of a write after its transaction in the place of what `once` answered, and return it.

    A process that dies before leaves the first one: the state right after the transaction.
    """
    claim = await _claim(request, caller)
    if claim is not None:
        async with caller.catalog.sql.transaction() as conn:
            await replace_answer(conn, claim.organization, claim.scope, answer.content)
    return answer


async def replayed(request: HttpRequest, caller: Caller) -> Response[bytes] | None:
    """Answer a write that was answered before, for one whose work begins before `once`; None when it was not.

    Raises Rejected `idempotency_key_mismatch`.
    """
    claim = await _claim(request, caller)
    if claim is None:
        return None
    async with caller.catalog.sql.snapshot() as conn:
        stored = await find_answer(conn, claim.organization, claim.scope, caller.real_ms)
    if stored is None:
        return None
    if stored.fingerprint != claim.fingerprint:
        raise mismatch()
    return Response(stored.body, status_code=stored.status, media_type=JSON, headers={REPLAYED: "true"})


async def name_of(request: HttpRequest, caller: Caller) -> str | None:
    """Name a write, the same for each of its retries: its scope, then its fingerprint; None without a key.

    Each is the half of its digest, 32 hexadecimal digits.
    """
    claim = await _claim(request, caller)
    return None if claim is None else claim.scope[:32] + claim.fingerprint[:32]


def mismatch() -> Rejected:
    """Make the refusal of a request whose key came with another one before (contract 1.5.2)."""
    return rejected("idempotency_key_mismatch", "This Idempotency-Key came with another request before.")


async def _claim(request: HttpRequest, caller: Caller) -> _Claim | None:
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not 1 <= len(key.encode()) <= KEY_BYTES_MAX:
        raise invalid("Idempotency-Key", f"must have 1 to {KEY_BYTES_MAX} bytes")
    scope = sha256(f"{request.method}\n{request.url.path}\n{key}".encode()).hexdigest()
    fingerprint = sha256(caller.dialect.encode() + b"\n" + await request.body()).hexdigest()
    return _Claim(organization=caller.organization.id_text, scope=scope, fingerprint=fingerprint)


async def _run(caller: Caller, claim: _Claim | None, work: Work, status: int) -> _Done:
    async with caller.catalog.sql.transaction() as conn:
        stored = None if claim is None else await find_answer(conn, claim.organization, claim.scope, caller.real_ms)
        if claim is not None and stored is not None:
            if stored.fingerprint != claim.fingerprint:
                raise mismatch()
            version = await read_version(conn)
            return _Done(status=stored.status, body=stored.body, version=version, replayed=True)
        body = wire.encode(wire.success(caller.dialect, await work(conn)))
        if claim is not None:
            answer = StoredAnswer(fingerprint=claim.fingerprint, status=status, body=body)
            await keep_answer(conn, claim.organization, claim.scope, answer, caller.real_ms)
        return _Done(status=status, body=body, version=await read_version(conn), replayed=False)


async def _keep_refusal(caller: Caller, claim: _Claim, refusal: Refusal, request_id: str | None) -> None:
    """Keep a refusal as the first outcome; what may pass at a later attempt is not kept (contract 1.5.4)."""
    status = wire.status_of(refusal.code)
    if status in _NEVER_STORED or status >= _SERVER_ERROR or refusal.code == "idempotency_key_mismatch":
        return
    body = wire.encode(wire.error_body(refusal, request_id))
    async with caller.catalog.sql.transaction() as conn:
        if await find_answer(conn, claim.organization, claim.scope, caller.real_ms) is None:
            answer = StoredAnswer(fingerprint=claim.fingerprint, status=status, body=body)
            await keep_answer(conn, claim.organization, claim.scope, answer, caller.real_ms)

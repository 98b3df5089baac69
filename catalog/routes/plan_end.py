"""The end of a plan over HTTP: deprecated, removed, or removed with a strategy for those who are subscribed.

What a strategy does to subscriptions is billing's, at each one's renewal; the catalog keeps which one was chosen.
Source: R-PLAN-8 to R-PLAN-10, AMB-34, AMB-46.
"""

from typing import Any, Final

import msgspec
from litestar import Response, delete, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog import plan_rule, store
from catalog.definition import Plan
from catalog.gateway.http import Caller, HttpRequest
from catalog.gateway.once import once
from catalog.gateway.openapi import documented
from catalog.routes.plan_shape import plan_wire
from catalog.routes.told import told
from kernel.errors import invalid, rejected
from kernel.period import instant_text

_RESOURCE: Final = "plan"
_CANCEL: Final = "cancel"
_MIGRATE: Final = "migrate"
_QUERY: Final = {
    "strategy": "cancel or migrate: what becomes of the subscribers at their renewals",
    "planId": "with migrate: the plan to which they move, by id or code",
}


async def in_use(caller: Caller, conn: AsyncConnection, plan: Plan) -> bool:
    """Ask billing whether customers are subscribed to a plan, within the transaction that depends on it."""
    asked = caller.catalog.plan_in_use
    return asked is not None and await asked(conn, plan.id)


@post("/{plan_ref:str}/deprecate", status_code=200, summary="Take no new subscribers, and show the plan nowhere")
async def deprecate(request: HttpRequest, caller: NamedDependency[Caller], plan_ref: FromPath[str]) -> Response[bytes]:
    """Subscribers keep the plan unchanged; nobody can newly subscribe, ever (R-PLAN-8, AMB-46)."""
    caller.must_write(_RESOURCE)
    changed: list[str] = []

    async def work(conn: AsyncConnection) -> object:
        plan = await store.load_plan(conn, caller.organization.id, plan_ref)
        changed[:] = [plan.id]
        return plan_wire(caller, await store.save_plan(conn, _withdrawn(caller, plan, deprecated=True)))

    return await once(request, caller, work, after=told(caller, changed))


@delete(
    "/{plan_ref:str}",
    status_code=200,
    summary="Remove a plan, or say what becomes of its subscribers",
    operation_class=documented(query=_QUERY),
)
async def remove(request: HttpRequest, caller: NamedDependency[Caller], plan_ref: FromPath[str]) -> Response[bytes]:
    """Refused while a subscription has the plan (R-PLAN-10), unless a strategy is stated (R-PLAN-9)."""
    caller.must_write(_RESOURCE)
    strategy, target = request.query_params.get("strategy"), request.query_params.get("planId")
    if strategy not in (None, _CANCEL, _MIGRATE):
        raise invalid("strategy", "must be cancel or migrate")
    if (strategy == _MIGRATE) is (target is None):
        raise invalid("planId", "names the plan to move to, with strategy=migrate alone")
    changed: list[str] = []

    async def work(conn: AsyncConnection) -> object:
        plan = await store.load_plan(conn, caller.organization.id, plan_ref)
        ending = _CANCEL if target is None else await _target(caller, conn, plan, target)
        moving = await store.plans_moving_to(conn, plan.id)
        if moving:
            raise rejected("plan_in_use", f"Subscribers of {', '.join(moving)} move to the plan {plan.code}.")
        if not await in_use(caller, conn, plan):
            await store.remove_plan(conn, plan, caller.real_ms)
            return _removed(caller, plan)
        if strategy is None:
            raise rejected("plan_in_use", f"Customers are subscribed to the plan {plan.code}: say a strategy.")
        changed[:] = [plan.id]
        # When it was deleted tells billing which period runs out, whatever the clock was when the plan was made.
        withdrawn = _withdrawn(caller, plan, deprecated=True, is_public=False, ending=ending, updated_ms=caller.now_ms)
        await store.save_plan(conn, withdrawn)
        return {**_removed(caller, plan), "strategy": strategy, "planId": None if ending == _CANCEL else ending}

    return await once(request, caller, work, after=told(caller, changed))


async def _target(caller: Caller, conn: AsyncConnection, plan: Plan, reference: str) -> str:
    return plan_rule.check_target(plan, await store.load_plan(conn, caller.organization.id, reference)).id


def _withdrawn(caller: Caller, plan: Plan, **changes: Any) -> Plan:
    return msgspec.structs.replace(plan, **{"updated_ms": plan.changed_ms(caller.now_ms), **changes})


def _removed(caller: Caller, plan: Plan) -> dict[str, Any]:
    return {**caller.object("plan"), "id": plan.id, "deleted": True, "updatedAt": instant_text(caller.now_ms)}

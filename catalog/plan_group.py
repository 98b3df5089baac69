"""Plan groups: which plans may stand in one, in which order. Pure. Source: section 26 of the rules."""

from collections.abc import Sequence

from catalog.definition import Plan, PlanGroup
from catalog.regional import has_regions
from kernel.errors import invalid, rejected


def placed(group: PlanGroup, plan: Plan, position: int | None) -> tuple[str, ...]:
    """Tell the group's plans with another at `position` (None: the highest), low to high (R-GROUP-1).

    Raises Rejected for a plan that is in a group, or has regional prices (R-GROUP-2).
    """
    if plan.group_id is not None:
        raise rejected("duplicate", f"The plan {plan.code} is in a group already.", param="planId")
    if has_regions(plan):
        raise invalid("planId", f"The plan {plan.code} has regional prices: it cannot be in a group.")
    at = len(group.plans) if position is None else position
    if at < 0:
        raise invalid("sortOrder", "must not be negative")
    return (*group.plans[:at], plan.id, *group.plans[at:])


def reordered(group: PlanGroup, plan_ids: Sequence[str]) -> tuple[str, ...]:
    """Check a group's whole order: each of its plans once. Raises Rejected."""
    if sorted(plan_ids) != sorted(group.plans):
        raise invalid("planIds", "must name each plan of the group once")
    return tuple(plan_ids)


def changes_offered(group: PlanGroup | None, plan: str) -> tuple[str, ...]:
    """Tell the plans that a customer of `plan` may change to, low to high; without a group none (R-GROUP-3)."""
    if group is None or plan not in group.plans:
        return ()
    return tuple(other for other in group.plans if other != plan)

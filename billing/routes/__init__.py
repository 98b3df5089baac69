"""Billing over HTTP. Handlers decide nothing; `ROUTES` is what the application mounts under each prefix.

They ask for `catalog`, `live`, `usage_store`, `relay`, `closer` and `access` by name.
"""

from typing import Final

from litestar import Router

from billing.routes.addon import ACTIVE_ADDONS, ACTIVE_ADDONS_ALIAS, ADDON_CHANGES
from billing.routes.checkout import CHECKOUT
from billing.routes.credit import CREDITS
from billing.routes.explain import EXPLAIN
from billing.routes.invoice import INVOICES, UPCOMING
from billing.routes.payment import CARDS, PAYMENTS
from billing.routes.plan_change import PLAN_CHANGES
from billing.routes.purchase import PURCHASES
from billing.routes.seat import SEATS
from billing.routes.subscription import SUBSCRIPTIONS
from billing.routes.subscription_change import SUBSCRIPTION_CHANGES
from billing.routes.test_clock import TEST_CLOCK

# What stands outside the prefixes as well, since links of ours lead there.
LINKED: Final[tuple[Router, ...]] = (CHECKOUT,)
ROUTES: Final[tuple[Router, ...]] = (
    SUBSCRIPTIONS,
    SUBSCRIPTION_CHANGES,
    PLAN_CHANGES,
    INVOICES,
    UPCOMING,
    CREDITS,
    SEATS,
    ADDON_CHANGES,
    ACTIVE_ADDONS,
    ACTIVE_ADDONS_ALIAS,
    PURCHASES,
    PAYMENTS,
    CARDS,
    CHECKOUT,
    TEST_CLOCK,
    EXPLAIN,
)

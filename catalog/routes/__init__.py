"""The catalog's management API in era D's shapes, wrapped for older eras; `catalog.rule` decides what is refused."""

from typing import Final

from litestar import Router

from catalog.routes.addon import ADDONS
from catalog.routes.ai_model import AI_MODELS
from catalog.routes.credit_pack import CREDIT_PACKS
from catalog.routes.customer import CUSTOMERS
from catalog.routes.feature import FEATURES
from catalog.routes.key import KEYS
from catalog.routes.offer import OFFERS
from catalog.routes.organization import ORGANIZATION
from catalog.routes.plan import PLANS
from catalog.routes.plan_feature import PLAN_FEATURES
from catalog.routes.plan_group import PLAN_GROUPS
from catalog.routes.price import PRICES
from catalog.routes.promo_code import PROMO_CODES
from catalog.routes.regional import REGIONAL
from catalog.routes.seat_type import SEAT_TYPES

ROUTES: Final[tuple[Router, ...]] = (
    *(CUSTOMERS, FEATURES, SEAT_TYPES, PLANS, PRICES, PLAN_FEATURES, ORGANIZATION, KEYS),
    *(AI_MODELS, ADDONS, CREDIT_PACKS, OFFERS, PROMO_CODES, PLAN_GROUPS, REGIONAL),
)

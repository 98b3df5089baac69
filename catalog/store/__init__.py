"""The catalog in SQL: functions over one connection, so that whoever calls them holds the transaction.

Every function that changes something raises the catalog's version and stamps the rows it changed. None of them
decides; what may be changed is decided before, from values that they read.
"""

from catalog.store.addon import archive_addon, create_addon, list_addons, load_addon, save_addon
from catalog.store.credit_pack import create_pack, list_packs, load_pack, remove_pack, save_pack
from catalog.store.customer import (
    CustomerFilter,
    create_customer,
    delete_customer,
    find_customers,
    list_customers,
    load_customer,
    save_customer,
)
from catalog.store.deployment import ensure_deployment, load_deployment
from catalog.store.document import apply_document, export_document
from catalog.store.feature import create_feature, list_features, load_feature, remove_feature, save_feature
from catalog.store.key import create_key, find_key, hash_key, list_keys, revoke_key
from catalog.store.model_price import add_model_prices, list_editions, load_price_book, save_edition
from catalog.store.offer import create_offer, list_offers, load_offer, plans_with_offer, remove_offer, save_offer
from catalog.store.organization import (
    create_organization,
    list_organizations,
    load_organization,
    save_organization,
    set_clock,
)
from catalog.store.plan import create_plan, list_plans, load_plan, plan_ids, plans_moving_to, remove_plan, save_plan
from catalog.store.plan_feature import put_plan_feature, remove_plan_feature
from catalog.store.plan_group import create_group, list_groups, load_group, order_group, remove_group, save_group
from catalog.store.price import create_price, remove_price, save_price
from catalog.store.promo import create_promo, has_redeemed, list_promos, load_promo, redeem, save_promo
from catalog.store.region import (
    clear_regional_price,
    currencies_by_hand,
    manual_price,
    put_exchange_rate,
    put_regional_price,
    put_regional_rate,
    remove_currency,
)
from catalog.store.seat_type import (
    create_seat_type,
    find_seat_type,
    list_seat_types,
    load_seat_type,
    remove_seat_type,
    save_seat_type,
    with_seat_type,
)
from catalog.store.version import raise_version, read_version

__all__ = [
    "CustomerFilter",
    "add_model_prices",
    "apply_document",
    "archive_addon",
    "clear_regional_price",
    "create_addon",
    "create_customer",
    "create_feature",
    "create_group",
    "create_key",
    "create_offer",
    "create_organization",
    "create_pack",
    "create_plan",
    "create_price",
    "create_promo",
    "create_seat_type",
    "currencies_by_hand",
    "delete_customer",
    "ensure_deployment",
    "export_document",
    "find_customers",
    "find_key",
    "find_seat_type",
    "has_redeemed",
    "hash_key",
    "list_addons",
    "list_customers",
    "list_editions",
    "list_features",
    "list_groups",
    "list_keys",
    "list_offers",
    "list_organizations",
    "list_packs",
    "list_plans",
    "list_promos",
    "list_seat_types",
    "load_addon",
    "load_customer",
    "load_deployment",
    "load_feature",
    "load_group",
    "load_offer",
    "load_organization",
    "load_pack",
    "load_plan",
    "load_price_book",
    "load_promo",
    "load_seat_type",
    "manual_price",
    "order_group",
    "plan_ids",
    "plans_moving_to",
    "plans_with_offer",
    "put_exchange_rate",
    "put_plan_feature",
    "put_regional_price",
    "put_regional_rate",
    "raise_version",
    "read_version",
    "redeem",
    "remove_currency",
    "remove_feature",
    "remove_group",
    "remove_offer",
    "remove_pack",
    "remove_plan",
    "remove_plan_feature",
    "remove_price",
    "remove_seat_type",
    "revoke_key",
    "save_addon",
    "save_customer",
    "save_edition",
    "save_feature",
    "save_group",
    "save_offer",
    "save_organization",
    "save_pack",
    "save_plan",
    "save_price",
    "save_promo",
    "save_seat_type",
    "set_clock",
    "with_seat_type",
]

"""The catalog in SQL: functions over one connection, so that whoever calls them holds the transaction.

Every function that changes something raises the catalog's version and stamps the rows it changed. None of them
decides; what may be changed is decided before, from values that they read.
"""

from catalog.store.customer import (
    CustomerFilter,
    create_customer,
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
from catalog.store.organization import (
    create_organization,
    list_organizations,
    load_organization,
    save_organization,
    set_clock,
)
from catalog.store.plan import create_plan, list_plans, load_plan, plans_moving_to, remove_plan, save_plan
from catalog.store.plan_feature import put_plan_feature, remove_plan_feature
from catalog.store.price import create_price, remove_price, save_price
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
    "create_customer",
    "create_feature",
    "create_key",
    "create_organization",
    "create_plan",
    "create_price",
    "create_seat_type",
    "ensure_deployment",
    "export_document",
    "find_customers",
    "find_key",
    "find_seat_type",
    "hash_key",
    "list_customers",
    "list_editions",
    "list_features",
    "list_keys",
    "list_organizations",
    "list_plans",
    "list_seat_types",
    "load_customer",
    "load_deployment",
    "load_feature",
    "load_organization",
    "load_plan",
    "load_price_book",
    "load_seat_type",
    "plans_moving_to",
    "put_plan_feature",
    "raise_version",
    "read_version",
    "remove_feature",
    "remove_plan",
    "remove_plan_feature",
    "remove_price",
    "remove_seat_type",
    "revoke_key",
    "save_customer",
    "save_edition",
    "save_feature",
    "save_organization",
    "save_plan",
    "save_price",
    "save_seat_type",
    "set_clock",
    "with_seat_type",
]

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
from catalog.store.organization import create_organization, list_organizations, load_organization, set_clock
from catalog.store.plan import create_plan, list_plans, load_plan, remove_plan, save_plan
from catalog.store.plan_feature import put_plan_feature, remove_plan_feature
from catalog.store.price import create_price, remove_price, save_price
from catalog.store.version import raise_version, read_version

__all__ = [
    "CustomerFilter",
    "apply_document",
    "create_customer",
    "create_feature",
    "create_key",
    "create_organization",
    "create_plan",
    "create_price",
    "ensure_deployment",
    "export_document",
    "find_customers",
    "find_key",
    "hash_key",
    "list_customers",
    "list_features",
    "list_keys",
    "list_organizations",
    "list_plans",
    "load_customer",
    "load_deployment",
    "load_feature",
    "load_organization",
    "load_plan",
    "put_plan_feature",
    "raise_version",
    "read_version",
    "remove_feature",
    "remove_plan",
    "remove_plan_feature",
    "remove_price",
    "revoke_key",
    "save_customer",
    "save_feature",
    "save_plan",
    "save_price",
    "set_clock",
]

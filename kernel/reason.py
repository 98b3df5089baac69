"""On which rule a refusal rests, by its code. Pure.

Owns the one table from error codes to rules. A code that stands for several rules names the general one here; who
raises it says the exact one in `Refusal.rule`, or the field or the path tells it. Source: contract 2.3; R-ERR-2.
"""

from collections.abc import Mapping
from typing import Final

from kernel.errors import Refusal

RULES: Final[Mapping[str, str]] = {
    # the request itself
    "validation_error": "R-ERR-3",
    "amount_too_large": "R-GEN-2",
    "invalid_json": "R-ERR-3",
    "method_not_allowed": "R-ERR-2",
    "payload_too_large": "R-ERR-2",
    "not_found": "R-ERR-2",
    "endpoint_not_available": "R-ERR-2",
    "endpoint_deprecated": "R-ERR-2",
    "rate_limited": "R-ERR-2",
    "internal_error": "R-ERR-2",
    "service_unavailable": "R-TRACK-23",
    "idempotency_key_mismatch": "R-TRACK-13",
    "idempotency_in_progress": "R-TRACK-13",
    "idempotency_unavailable": "R-TRACK-13",
    # who asks, and of what
    "unauthorized": "R-ENV-3",
    "forbidden": "R-ERR-2",
    "sandbox_only": "R-ENV-6",
    "api_key_not_found": "R-ENV-3",
    # usage
    "duplicate": "R-ERR-2",
    "event_unprocessable": "R-ERR-2",
    "event_not_found": "R-GEN-7",
    "event_not_settled": "R-TRACK-24",
    "event_not_counted": "R-TRACK-19",
    "event_is_correction": "R-TRACK-20",
    "event_voided": "R-TRACK-20",
    "correction_conflict": "R-TRACK-15",
    "window_closed": "R-TRACK-20",
    "included_limit_reached": "R-METER-4",
    "insufficient_credits": "R-CREDIT-5",
    "insufficient_balance": "R-BAL-7",
    "pricing_mode_mismatch": "R-AI-9",
    "model_not_found": "R-AI-6",
    "no_active_subscription": "R-ACC-2",
    "feature_not_in_plan": "R-ACC-3",
    "feature_disabled": "R-ACC-3",
    # what is sold, and to whom
    "customer_not_found": "R-GEN-8",
    "feature_not_found": "R-ACC-3",
    "feature_already_exists": "R-FEAT-2",
    "feature_in_use": "R-FEAT-6",
    "seat_type_not_found": "R-SEAT-4",
    "seat_type_in_use": "R-FEAT-6",
    "plan_not_found": "R-PLAN-11",
    "plan_in_use": "R-PLAN-10",
    "plan_unavailable": "R-PLAN-8",
    "price_not_found": "R-PLAN-3",
    "price_in_use": "R-PRICE-1",
    "no_prices_configured": "R-SUB-2",
    "missing_regional_price": "R-ADDON-14",
    "plan_group_not_found": "R-GROUP-1",
    "plans_not_in_same_group": "R-CHG-1",
    "credit_pack_not_found": "R-PACK-1",
    "addon_not_found": "R-ADDON-1",
    "addon_has_activations": "R-ADDON-11",
    "addon_already_active": "R-ADDON-7",
    "addon_not_active": "R-ADDON-5",
    "offer_not_found": "R-DISC-14",
    "offer_not_applicable": "R-DISC-8",
    "promo_code_not_found": "R-DISC-8",
    "promo_code_expired": "R-DISC-12",
    # subscriptions and changes
    "subscription_not_found": "R-SUB-11",
    "subscription_required": "R-CUST-7",
    "subscription_not_active": "R-SUB-4",
    "subscription_creation_failed": "R-ERR-2",
    "subscription_already_canceled": "R-SUB-9",
    "already_has_active_subscription": "R-SUB-3",
    "invalid_subscription_status": "R-SUB-5",
    "not_scheduled_for_cancellation": "R-SUB-6",
    "already_scheduled": "R-SUB-14",
    "plan_change_scheduled": "R-SUB-14",
    "no_change_requested": "R-CHG-2",
    "free_plan_change_not_supported": "R-CHG-14",
    # seats and money
    "insufficient_seats": "R-SEAT-2",
    "seat_limit_exceeded": "R-SEAT-14",
    "invoice_not_found": "R-GEN-7",
    "payment_not_found": "R-GEN-7",
    "charge_failed": "R-DUN-5",
    "payment_failed": "R-DUN-1",
    "charge_in_progress": "R-CHG-8",
    "no_payment_method": "R-DUN-5",
    "no_outstanding_invoice": "R-DUN-3",
}

# Words of feature access that are no error codes (R-ACC-11).
ACCESS_RULES: Final[Mapping[str, str]] = {
    "included_limit_reached": "R-METER-4",
    "credits_exhausted": "R-CREDIT-5",
    "balance_exhausted": "R-BAL-7",
    "seat_limit_reached": "R-SEAT-14",
    "feature_not_in_plan": "R-ACC-3",
    "no_subscription": "R-ACC-2",
    "subscription_inactive": "R-ACC-2",
}

# Where the path tells more than the code: the end of the path that holds it (without ids), and the code.
_PATHS: Final[Mapping[tuple[str, str], str]] = {
    ("usage", "duplicate"): "R-TRACK-13",
    ("usage", "customer_not_found"): "R-TRACK-7",
    ("usage", "feature_not_found"): "R-TRACK-7",
    ("usage", "no_active_subscription"): "R-TRACK-7",
    ("usage", "feature_not_in_plan"): "R-TRACK-7",
    ("seats", "no_active_subscription"): "R-SEAT-4",
    ("seats", "feature_not_found"): "R-SEAT-4",
    ("seats", "feature_not_in_plan"): "R-SEAT-4",
    ("features", "duplicate"): "R-FEAT-2",
    ("seat-types", "duplicate"): "R-FEAT-8",
    ("plans", "duplicate"): "R-PLAN-11",
    ("credit-packs", "duplicate"): "R-PACK-1",
    ("addons", "duplicate"): "R-ADDON-1",
    ("promo-codes", "duplicate"): "R-DISC-8",
    ("plan-groups", "duplicate"): "R-GROUP-2",
    ("credits", "invalid_subscription_status"): "R-PACK-2",
    ("credits", "no_payment_method"): "R-PACK-2",
    ("topup", "invalid_subscription_status"): "R-PORTAL-4",
    ("topup", "no_payment_method"): "R-FREE-4",
    ("addons", "invalid_subscription_status"): "R-ADDON-7",
    ("addons", "no_payment_method"): "R-ADDON-7",
    ("addons", "charge_failed"): "R-ADDON-15",
    ("change-plan", "invalid_subscription_status"): "R-CHG-14",
    ("change-plan", "charge_failed"): "R-CHG-8",
    ("change-plan", "no_payment_method"): "R-CHG-8",
    ("pause", "invalid_subscription_status"): "R-SUB-13",
    ("resume", "invalid_subscription_status"): "R-SUB-13",
    ("test-clock", "sandbox_only"): "R-CLOCK-1",
}

# Which rule a field of a `validation_error` offends, by the same part of the path; "" is any path.
_FIELDS: Final[Mapping[tuple[str, str], str]] = {
    ("usage", "featureCode"): "R-TRACK-2",
    ("usage", "feature"): "R-TRACK-2",
    ("usage", "customerId"): "R-TRACK-1",
    ("usage", "value"): "R-TRACK-3",
    ("usage", "ts"): "R-TRACK-6",
    ("usage", "timestamp"): "R-TRACK-6",
    ("usage", "events"): "R-TRACK-16",
    ("usage", "model"): "R-TRACK-18",
    ("usage", "inputTokens"): "R-AI-3",
    ("usage", "outputTokens"): "R-TRACK-18",
    ("usage", "cacheReadTokens"): "R-TRACK-18",
    ("usage", "cacheWriteTokens"): "R-TRACK-18",
    ("", "limit"): "R-PAGE-2",
    ("", "cursor"): "R-PAGE-2",
    ("customers", "email"): "R-CUST-4",
    ("customers", "id"): "R-CUST-10",
    ("customers", "timezone"): "R-CUST-5",
    ("features", "code"): "R-FEAT-2",
    ("features", "eventCode"): "R-FEAT-4",
    ("subscriptions", "planCode"): "R-SUB-2",
    ("subscriptions", "planId"): "R-SUB-2",
    ("subscriptions", "billingInterval"): "R-SUB-2",
    ("credits", "creditPackId"): "R-PACK-1",
    ("topup", "amount"): "R-TOPUP-1",
    ("pause", "durationDays"): "R-SUB-13",
    ("addons", "addonId"): "R-ADDON-2",
    ("seats", "count"): "R-SEAT-2",
    ("seats", "seats"): "R-SEAT-2",
    ("plan-groups", "planId"): "R-GROUP-2",
    ("test-clock", "frozenTime"): "R-CLOCK-1",
    ("test-clock", "advanceDays"): "R-CLOCK-2",
}


def rule_of(refusal: Refusal, path: str = "") -> str:
    """Tell the rule on which a refusal rests; `path` is what was called, without the prefix.

    The exact one that it names, else what its field or the path tells, else its code's.
    """
    if refusal.rule is not None:
        return refusal.rule
    parts = ["", *(part for part in path.partition("?")[0].split("/") if part)]
    for part in reversed(parts):
        told = _FIELDS.get((part, refusal.param or "")) if refusal.code == "validation_error" else None
        told = told or _PATHS.get((part, refusal.code))
        if told is not None:
            return told
    return RULES[refusal.code]

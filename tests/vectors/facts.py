"""Vectors that are no scenarios and that no test asserts yet, with the reason; every other one has a test."""

_LATER = "another issue's: "
NOT_YET = {
    "DOC-FIN-01": _LATER + "payouts",
    "DOC-FIN-02": _LATER + "payouts",
    "DOC-WH-01": _LATER + "webhooks",
    "DOC-SDK-01": _LATER + "client libraries",
    "DOC-PORTAL-01": _LATER + "the customer portal",
}

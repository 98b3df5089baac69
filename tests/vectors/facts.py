"""Vectors that are no scenarios and that no test asserts yet, with the reason."""

_LATER = "comes with a later issue: "
NOT_YET = {
    "DOC-DISC-06": "discounts",
}

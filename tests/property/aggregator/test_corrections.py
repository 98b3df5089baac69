"""Laws of corrections: what is void was never sent, what is amended was sent so from the start. Source: ADR 10."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from aggregator.account import Account
from aggregator.pool_left import left
from catalog.terms import ConsumptionModel, FeatureTerms, Snapshot, TopUp
from ingest.verdict import Verdict
from tests.unit.aggregator.correction_case import Customer
from tests.unit.aggregator.pool_case import FREE, IMAGES, ONE, TEXTS, balance, day, event, ms, snapshot, terms

JANUARY = day("2026-01-01")
OPEN = tuple(
    FeatureTerms(feature=feature, code=code, kind="metered", included=5 * ONE, overage=True, unit_price="0.1")
    for feature, code in ((IMAGES, "images"), (TEXTS, "texts"), (FREE, "free"))
)
# None of these is ever exhausted by what is sent here.
UNDER = (
    snapshot(terms(ConsumptionModel.METERED, 0, features=OPEN)),
    snapshot(terms(pool=40), packs=100_000 * ONE),
    snapshot(balance(2, overdraft=True), top_ups=(TopUp(term=1, window=JANUARY, amount=ONE),)),
)
VALUES = st.sampled_from(["0", "0.5", "1", "2.25", "7", "12.001"])


class Use:
    """An event, what it is amended to in order, and whether it is void in the end."""

    def __init__(self, feature: bytes, value: str, amended: list[str], *, void: bool) -> None:
        self.feature, self.value, self.void = feature, value, void
        self.amended = [after for before, after in zip([value, *amended], amended, strict=False) if before != after]

    @property
    def final(self) -> str | None:
        return None if self.void else [self.value, *self.amended][-1]


uses = st.builds(Use, st.sampled_from([IMAGES, TEXTS, FREE]), VALUES, st.lists(VALUES, max_size=3), void=st.booleans())


def left_over(account: Account, under: Snapshot) -> Any:
    return left(account, under, ms("2026-01-12"))


@given(st.sampled_from(UNDER), st.lists(uses, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_what_is_corrected_is_as_if_sent_so_from_the_start(under: Snapshot, sent: list[Use], chance: Any) -> None:
    corrected, straight = Customer(under), Customer(under)
    rows = [corrected.use(event(use.feature, use.value)) for use in sent]
    steps = [(at, value) for at, use in enumerate(sent) for value in [*use.amended, *([None] if use.void else [])]]
    order = sorted(range(len(sent)), key=lambda _: chance.random())
    for at in order:
        for of, value in steps:
            if of == at:
                corrected.void(rows[at]) if value is None else corrected.amend(rows[at], value)
    for use in sent:
        if use.final is not None:
            straight.use(event(use.feature, use.final))
    assert {outcome.verdict for outcome in [*corrected.said, *straight.said]} <= {Verdict.COUNTED}
    one, other = corrected.account, straight.account
    assert {key: total.now for key, total in one.totals.items() if total.now} == {
        key: total.now for key, total in other.totals.items() if total.now
    }
    assert {key: drawn.now for key, drawn in one.draws.items() if not drawn.now.empty} == {
        key: drawn.now for key, drawn in other.draws.items() if not drawn.now.empty
    }
    assert (one.packs, left_over(one, under)) == (other.packs, left_over(other, under))

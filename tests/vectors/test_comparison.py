"""The comparator: exact, of everything that a vector expects, and each changed amount is noticed."""

import copy
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.vectors.changed import changes
from tests.vectors.comparison import compare, tells
from tests.vectors.observation import Observation, SeenEvent, SeenInvoice, SeenLine, SeenState


def line(kind, amount, quantity=None, unit=None, words=""):
    exact = [None if one is None else Decimal(one) for one in (amount, quantity, unit)]
    return SeenLine(type=kind, amount=exact[0], quantity=exact[1], unit_amount=exact[2], words=words)


FIRST = SeenInvoice(on="2026-01-01", type="recurring", total=Decimal(29), lines=(line("plan_base", "29"),))
CHANGE = SeenInvoice(
    on="2026-01-15",
    type="plan_change",
    total=Decimal(35),
    lines=(
        line("proration_credit", "-14.5", words="Unused days | starter"),
        line("proration_charge", "49.5", words="pro, 15 of 30 days"),
    ),
    amount_due=Decimal(35),
    credited_to_account=Decimal(0),
    days_remaining=15,
    days_in_cycle=30,
    next_renewal="2026-02-15",
    final=False,
)
SECOND = SeenInvoice(
    on="2026-02-15",
    type="recurring",
    total=Decimal(120),
    lines=(
        line("plan_base", "99", "1", "99", "pro"),
        line("overage", "20", "2000", "0.01", "api_calls"),
        line("overage", "1", "100", "0.01", "api_calls_slow"),
    ),
    next_renewal="2026-03-15",
)
SEEN = Observation(
    invoices=(FIRST, CHANGE, SECOND),
    events=(
        SeenEvent(
            on="2026-01-02",
            feature="chat",
            value=Decimal(30),
            accepted=True,
            deducted=Decimal("0.0081"),
            cost=Decimal("0.0081"),
            costs={"subtotal": Decimal("0.00675"), "total": Decimal("0.0081"), "cache_cost": Decimal(0)},
        ),
        SeenEvent(on="2026-01-03", feature="chat", value=Decimal(1), accepted=False),
    ),
    log=(
        {"on": "2026-01-03", "blocked": "chat", "value": "1"},
        {"on": "2026-01-20", "scheduled": "free", "interval": None, "effective": "2026-02-15"},
    ),
    before=SeenState(plan="starter", status="trialing"),
    after=SeenState(
        plan="pro",
        status="active",
        next_renewal="2026-03-15",
        plan_credits=Decimal(0),
        purchased_credits=Decimal(500),
        plan_balance=Decimal("9.9919"),
        topup_balance=Decimal(50),
        overdraft=Decimal(0),
        discount_cycles=2,
        discounts=("Introductory offer",),
    ),
    trial_ends_on="2026-01-15",
    redemptions={"VIP": 0},
    next_full_invoice=SeenInvoice(on="2026-03-15", type="recurring", total=Decimal(99)),
    names=frozenset({"starter", "pro", "api_calls", "api_calls_slow"}),
)
WANTED = {
    "invoices": [
        {"on": "2026-01-01", "type": "recurring", "total": "29.00", "reason": "subscription_start"},
        {
            "on": "2026-01-15",
            "type": "plan_change",
            "lines": [
                {"type": "proration_charge", "amount": "49.50", "description": "plan:pro"},
                {"type": "proration_credit", "amount": "-14.50", "description": "plan:starter"},
            ],
            "total": "35.00",
            "amount_due": "35.00",
            "credited_to_account": "0.00",
            "days_remaining": 15,
            "days_in_cycle": 30,
            "next_renewal": "2026-02-15",
            "final": False,
        },
        {
            "on": "2026-02-15",
            "type": "recurring",
            "lines": [
                {"type": "overage", "amount": "20.00", "quantity": "2000", "unit_amount": "0.010"},
                {"type": "overage", "amount": "1.00", "description": "api_calls_slow"},
                {"type": "plan_base", "amount": "99.00", "description": "the base price"},
            ],
            "total": "120.00",
        },
    ],
    "invoice_date": "2026-01-15",
    "invoice_type": "plan_change",
    "invoice_lines": [{"type": "proration_credit", "amount": "-14.50"}, {"type": "proration_charge", "amount": "49.5"}],
    "total": "35.00",
    "total_credit": "14.50",
    "total_charge": "49.50",
    "days_remaining": 15,
    "no_invoice_on": ["2026-02-01"],
    "state": {"plan": "pro", "status": "active", "purchased_credits": "500", "plan_balance": "9.9919", "overdraft": 0},
    "log": [
        {"on": "2026-01-03", "blocked": "chat", "value": "1"},
        {"on": "2026-01-20", "scheduled": "free", "interval": None, "effective": "2026-02-15"},
    ],
    "accepted": [True, False],
    "deducted": ["0.0081", None],
    "event_costs": ["0.0081", "0"],
    "next_renewal": "2026-03-15",
    "next_full_invoice": {"on": "2026-03-15", "total": "99.00"},
    "status_after": "active",
    "trial_ends_on": "2026-01-15",
    "plan_balance_after": "9.99190",
    "remaining_discount_cycles_after": 2,
    "promo_ignored": "VIP",
    "promo_redemptions": 0,
    "invoice_count": 3,
    "a_documented_figure": "7",
    "requires_checkout": True,
}


def test_what_is_expected_is_found():
    found = compare(WANTED, SEEN)
    assert found.differences == []
    assert found.unseen == ["a_documented_figure", "requires_checkout"]


def test_each_changed_amount_is_noticed():
    found = compare(WANTED, SEEN)
    changed = dict(changes(found))
    assert {"invoices.0.total", "invoices.2.lines.0.quantity", "invoice_lines.1.amount", "deducted.0"} <= set(changed)
    assert {"invoices.1.days_in_cycle", "state.overdraft", "next_full_invoice.total", "total_credit"} <= set(changed)
    assert len(changed) == len(found.amounts) == 32
    assert [place for place, then in changed.items() if compare(then, SEEN).differences == []] == []


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("invoices/0/on", "2026-01-02", "invoices.0.on: expected '2026-01-02', found '2026-01-01'"),
        ("invoices/0/type", "overage", "invoices.0.type"),
        ("invoices/1/final", True, "invoices.1.final"),
        ("invoices/1/next_renewal", "2026-02-01", "invoices.1.next_renewal"),
        ("invoices/1/lines/0/description", "plan:starter", "missing proration_charge plan:starter 49.50"),
        ("invoices/2/lines/1/description", "api_calls", "missing overage api_calls 1.00"),
        ("invoices/2/lines/1", {"type": "seats", "amount": "1.00"}, "not expected overage 1 (100 at 0.01)"),
        ("invoice_date", "2026-01-16", "there is no invoice of 2026-01-16"),
        ("invoice_type", "recurring", "invoice_type"),
        ("no_invoice_on", ["2026-01-15"], "no_invoice_on.0"),
        ("state/plan", "starter", "state.plan"),
        ("state/status", "canceled", "state.status"),
        ("log", [], "log.entries: expected 0, found 2"),
        ("log/0/blocked", "talk", "log.0.blocked"),
        ("log/1/effective", "2026-02-14", "log.1.effective"),
        ("log/1/interval", "monthly", "log.1.interval"),
        ("accepted", [True, True], "accepted"),
        ("deducted", ["0.0081"], "deducted.events"),
        ("deducted", [None, None], "deducted.0"),
        ("next_full_invoice/on", "2026-03-16", "next_full_invoice.on"),
        ("next_renewal", None, "next_renewal"),
        ("status_after", "paused", "status_after"),
        ("trial_ends_on", "2026-01-16", "trial_ends_on"),
        ("promo_ignored", "OTHER", "promo_ignored"),
        ("active_discount_after", None, "active_discount_after"),
    ],
)
def test_another_word_day_or_order_is_noticed(path, value, told):
    then = copy.deepcopy(WANTED)
    *folders, last = [int(name) if name.isdigit() else name for name in path.split("/")]
    place = then
    for name in folders:
        place = place[name]
    place[last] = value
    assert any(told in difference for difference in compare(then, SEEN).differences)


def test_the_list_of_invoices_is_complete_unless_it_is_its_tail():
    two = {"invoices": WANTED["invoices"][1:]}
    assert any(one.startswith("invoices: expected 2, found 3") for one in compare(two, SEEN).differences)
    assert compare({**two, "invoices_are": "last two only"}, SEEN).differences == []
    assert compare({"invoices": []}, SEEN).differences != []
    too_many = {"invoices": [*WANTED["invoices"], WANTED["invoices"][0]], "invoices_are": "last two only"}
    assert compare(too_many, SEEN).differences != []


def test_lines_are_a_multiset():
    twice = line("seats", "5", words="member"), line("seats", "5", words="guest")
    seen = replace(SEEN, invoices=(replace(FIRST, total=Decimal(10), lines=twice),), names=frozenset({"guest"}))
    wanted = [{"type": "seats", "amount": "5.00"}, {"type": "seats", "amount": "5.00", "description": "seats:guest"}]
    # Either order must find the one line that names the guest for the one that asks for it.
    for lines in (wanted, wanted[::-1]):
        assert compare({"invoice_lines": lines, "total": None}, seen).differences == []
    assert compare({"invoice_lines": wanted[:1], "total": None}, seen).differences != []
    assert compare({"invoice_lines": [wanted[1], wanted[1]], "total": None}, seen).differences != []


def test_without_a_date_the_last_invoice_is_meant():
    assert compare({"total": "120.00", "invoice_lines": []}, SEEN).differences != []
    last = replace(SEEN, invoices=(FIRST, replace(SECOND, lines=())))
    assert compare({"total": "120.00", "invoice_lines": []}, last).differences == []
    assert compare({"total": "29.00", "invoice_lines": []}, last).differences != []
    assert compare({"total": "120.00"}, SEEN).differences == []


def test_of_two_invoices_of_a_day_the_one_that_fits_is_meant():
    again = replace(CHANGE, total=Decimal(1), lines=())
    then = {name: WANTED[name] for name in ("invoice_date", "invoice_lines", "total")}
    for invoices in ((CHANGE, again), (again, CHANGE)):
        assert compare(then, replace(SEEN, invoices=invoices)).differences == []


def test_nothing_is_asserted_by_an_empty_expectation():
    assert compare({"invoice_lines": [], "total": None}, SEEN).asserted == 0


def test_what_no_answer_shows_is_not_taken_for_right():
    blind = replace(
        SEEN, after=replace(SEEN.after, plan_balance=None), invoices=(replace(CHANGE, days_remaining=None),)
    )
    blind = replace(blind, events=(replace(SEEN.events[0], deducted=None, costs={}),))
    for then in (
        {"plan_balance_after": "9.9919"},
        {"state": {"plan_balance": "0"}},
        {"days_remaining": 15},
        {"deducted": "0.0081"},
        {"deducted": ["0.0081"]},
        {"total_cost": "0.0081"},
    ):
        assert compare(then, blind).differences != []


@pytest.mark.parametrize(
    ("wanted", "discounts", "cycles", "equal"),
    [
        (0, (), None, True),
        (None, (), None, True),
        (1, (), None, False),
        (None, ("VIP",), None, True),
        (0, ("VIP",), None, False),
        (0, ("VIP",), 2, False),
    ],
)
def test_a_discount_that_does_not_run_has_no_cycles_left(wanted, discounts, cycles, equal):
    """One that runs for ever has none to count either: null."""
    after = replace(SEEN.after, discounts=discounts, discount_cycles=cycles)
    found = compare({"remaining_discount_cycles_after": wanted}, replace(SEEN, after=after))
    assert (found.differences == []) is equal


def test_costs_of_tokens_are_those_of_the_one_event():
    one = replace(SEEN, events=SEEN.events[:1])
    then = {"total_cost": "0.0081", "subtotal": "0.00675", "cache_cost": "0", "deducted": "0.0081"}
    found = compare(then, one)
    assert (found.differences, found.unseen, len(found.amounts)) == ([], [], 4)
    assert compare({"total_cost": "0.0082"}, one).differences != []
    assert compare({"total_cost": "0.0081"}, SEEN).unseen == ["total_cost"]


def test_where_nothing_is_an_amount_something_else_is_changed():
    nothing = replace(SEEN, invoices=())
    for then, seen in (({"invoices": []}, nothing), ({"accepted": [True, False]}, SEEN)):
        found = compare(then, seen)
        assert found.differences == []
        changed = dict(changes(found))
        assert len(changed) == 1
        assert all(compare(other, seen).differences for other in changed.values())


@pytest.mark.parametrize(
    ("then", "places"),
    [
        ({"next_renewal": "2026-03-15"}, ["next_renewal"]),
        ({"status_after": "active", "trial_ends_on": "2026-01-15"}, ["status_after", "trial_ends_on"]),
        ({"state": {"plan": "pro", "status": "active"}}, ["state.plan", "state.status"]),
        ({"invoice_type": "recurring"}, ["invoice_type"]),
        ({"promo_ignored": "VIP"}, ["promo_ignored"]),
        ({"no_invoice_on": ["2026-02-01"]}, ["invoices"]),
        ({"accepted": [True, False]}, ["accepted"]),
        (
            {"log": [{"on": "2026-01-20", "scheduled": "free", "interval": None}]},
            ["log.0.on", "log.0.scheduled", "log.0.interval"],
        ),
    ],
)
def test_a_vector_of_words_alone_is_changed_word_by_word(then, places):
    seen = replace(SEEN, log=SEEN.log[1:])
    found = compare(then, seen)
    assert (found.differences, found.amounts) == ([], [])
    changed = dict(changes(found))
    assert list(changed) == places
    assert [place for place, other in changed.items() if not compare(other, seen).differences] == []


@pytest.mark.parametrize(
    ("words", "name", "told"),
    [
        ("pro, 2026-01-01 to 2026-01-31", "pro", True),
        ("Proration of starter", "pro", False),
        ("Overage | api_calls", "api_calls", True),
        ("Overage | api_calls_slow", "api_calls", False),
        ("Promo code VIP20", "vip20", True),
        ("sso-access", "sso", False),
    ],
)
def test_a_line_tells_what_it_bills(words, name, told):
    assert tells(words, name) is told

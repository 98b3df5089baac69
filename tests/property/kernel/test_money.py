from decimal import Context, Decimal, localcontext

from hypothesis import given
from hypothesis import strategies as st

from kernel.money import Money, minor_places, parse_unit_price, round_half_away

currencies = st.sampled_from(["USD", "EUR", "JPY", "KRW", "KWD"])
amounts = st.decimals(min_value=Decimal(-(10**15)), max_value=Decimal(10**15), places=12)
weights = st.lists(st.integers(0, 10**12), min_size=1, max_size=40).filter(any)


@given(minor=st.integers(-(10**18), 10**18), weights=weights)
def test_split_sums_back(minor, weights):
    parts = Money(minor, "USD").split(weights)
    assert sum(part.minor for part in parts) == minor
    assert len(parts) == len(weights)


@given(minor=st.integers(-(10**18), 10**18), weights=weights)
def test_a_part_is_its_exact_share_rounded_up_or_down(minor, weights):
    total = sum(weights)
    for part, weight in zip(Money(minor, "USD").split(weights), weights, strict=True):
        assert abs(part.minor * total - minor * weight) < total
        assert weight or part.minor == 0


@given(amount=amounts, currency=currencies)
def test_rounding_is_to_the_nearest_and_symmetric(amount, currency):
    money = round_half_away(amount, currency)
    assert money.currency == currency
    scaled = int(Context(prec=60).scaleb(amount, 12))
    unit = 10 ** (12 - minor_places(currency))
    away = (2 * abs(scaled) + unit) // (2 * unit)
    assert money.minor == (away if scaled >= 0 else -away)
    assert round_half_away(-amount, currency).minor == -money.minor


@given(minor=st.integers(-(10**30), 10**30), currency=currencies)
def test_money_is_its_own_rounding(minor, currency):
    money = Money(minor, currency)
    assert round_half_away(money.major(), currency) == money


@given(amount=amounts, currency=currencies, digits=st.integers(1, 50))
def test_rounding_does_not_depend_on_the_ambient_context(amount, currency, digits):
    expected = round_half_away(amount, currency)
    with localcontext(prec=digits):
        assert round_half_away(amount, currency) == expected


@given(one=st.integers(), other=st.integers(), currency=currencies)
def test_sums_and_differences_undo_each_other(one, other, currency):
    a, b = Money(one, currency), Money(other, currency)
    assert (a + b) - b == a
    assert a + b == b + a


@given(price=st.decimals(min_value=0, max_value=10**9, places=12))
def test_unit_prices_keep_their_value(price):
    assert parse_unit_price(format(price, "f")) == price


@given(text=st.text(max_size=30) | st.from_regex(r"[-+ ]?[0-9]*\.?[0-9]*([eE][-+]?[0-9]*)?", fullmatch=True))
def test_any_text_is_a_bounded_price_or_a_value_error(text):
    try:
        price = parse_unit_price(text)
    except ValueError:
        return
    assert 0 <= price <= 10**12
    assert price == Decimal(text)
    assert len(format(price, "f")) < 100

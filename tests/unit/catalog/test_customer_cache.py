from hypothesis import given
from hypothesis import strategies as st

from catalog.definition import Customer
from catalog.gateway.customer import CustomerCache
from kernel import ids

ORG, OTHER = bytes(15) + b"\1", bytes(15) + b"\2"


def customer(number, external=None, organization=ORG, email="a@example.com"):
    return Customer(id=number.to_bytes(16, "big"), organization=organization, external_id=external, email=email)


def test_it_finds_by_either_id_within_the_organization():
    cache = CustomerCache(10)
    one = customer(1, "one")
    cache.put(one)
    assert cache.get(ORG, "one") == cache.get(ORG, one.id_text) == one
    assert cache.get(OTHER, "one") is None
    assert cache.get(OTHER, one.id_text) is None
    assert cache.get(ORG, "two") is None
    assert cache.get(ORG, "cus_") is None


def test_a_renamed_customer_is_not_found_by_its_old_name():
    cache = CustomerCache(10)
    cache.put(customer(1, "one"))
    cache.put(customer(1, "uno"))
    assert cache.get(ORG, "one") is None
    cache.put(customer(2, "uno"))  # read after the name moved on
    cache.drop(customer(1).id)
    assert cache.get(ORG, "uno") == customer(2, "uno")


def test_the_one_unseen_for_longest_goes_first():
    cache = CustomerCache(2)
    cache.put(customer(1, "one"))
    cache.put(customer(2, "two"))
    assert cache.get(ORG, "one") is not None
    cache.put(customer(3, "three"))
    assert [cache.get(ORG, name) is not None for name in ("one", "two", "three")] == [True, False, True]
    assert cache.get(ORG, customer(2).id_text) is None


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from([None, "a", "b", "c"]), st.booleans()), max_size=40))
def test_it_never_tells_what_was_not_put_last(steps):
    cache, last = CustomerCache(3), {}
    for number, external, dropped in steps:
        if dropped:
            cache.drop(customer(number).id)
            last.pop(number, None)
        else:
            cache.put(customer(number, external))
            last[number] = customer(number, external)
        assert len(cache) <= 3
        for known in range(6):
            found = cache.get(ORG, ids.id_text(ids.CUSTOMER, known.to_bytes(16, "big")))
            assert found is None or found == last.get(known)
        for name in ("a", "b", "c"):
            found = cache.get(ORG, name)
            assert found is None or (found.external_id == name and found == last[int.from_bytes(found.id, "big")])

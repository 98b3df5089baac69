"""The audit reads with its own code what the pipeline wrote with its own: both must mean the same."""

from decimal import Decimal

import msgspec
import pytest

from aggregator.account import Account, Draws, WindowTotal, encode_account
from aggregator.fold_slice import dead_digest
from aggregator.row import EVENT_COLUMNS, EventRow, corrected_of, event_row
from catalog.terms import (
    ConsumptionModel,
    FeatureTerms,
    PoolChain,
    Snapshot,
    SubscriptionStatus,
    Terms,
    TopUp,
    encode_account_record,
    encode_snapshot,
)
from ingest.event import Corrected, TokenUse, UsageEvent, decode_usage, encode_usage
from ingest.key_entry import EntryKind, KeyEntry, encode_entry
from ingest.verdict import Outcome, Verdict, encode_outcomes
from kernel.position import Position
from kernel.record import decode_record, encode_record
from meterline.audit import decoding

A, B, C = bytes(range(16)), bytes(range(16, 32)), bytes(range(32, 48))


def _terms(number=3, since=20_000):
    features = (
        FeatureTerms(feature=C, code="calls", kind="metered", included=1_500_000_000, overage=True, unit_price="0.002"),
        FeatureTerms(feature=A, code="sso", kind="boolean"),
        FeatureTerms(feature=B, code="free", kind="metered", included=None),
    )
    return Terms(
        number=number,
        subscription="sub_x",
        plan="pln_x",
        start_us=7,
        anchor=19_999,
        since=since,
        free=False,
        features=features,
    )


def test_a_usage_record():
    event = UsageEvent(
        organization=A,
        customer=B,
        feature=C,
        event_time_us=1_700_000_000_123_456,
        at_ms=1_700_000_000_500,
        clock_ms=1_600_000_000_000,
        quantity="1.5",
        key="k",
        digest=b"d" * 16,
        content=b"c" * 8,
        request=b"r" * 8,
        has_timestamp=False,
        properties=(("a", "b"),),
        replays=Position(1, 2, 300, 4).to_bytes(),
    )
    (read,) = decoding.decode_record(2, 3, 9, 1_700_000_000_400, encode_usage("gw", [event]))
    assert (read.position, read.organization, read.customer, read.feature) == ((2, 3, 9, 0), A, B, C)
    assert (read.effective_ms, read.accepted_ms, read.quantity) == (
        1_700_000_000_400,
        1_600_000_000_000,
        Decimal("1.5"),
    )
    assert (read.key, read.digest, read.content, read.request) == ("k", b"d" * 16, b"c" * 8, b"r" * 8)
    assert (read.has_timestamp, read.properties, read.gateway) == (False, (("a", "b"),), "gw")
    assert read.replays == (1, 2, 300, 4) == decoding.position_named(Position(1, 2, 300, 4).event_id())


def test_a_correction_reads_alike_in_a_record_and_in_a_row():
    corrects = Corrected(
        position=Position(1, 2, 300, 4).to_bytes(),
        number=2,
        void=True,
        term=3,
        window=20_000,
        window_end=20_031,
        quantity="1000000000000.000000001",
        pool="balance",
        cost=2_400_000_000,
        taken=1_000_000_000,
    )
    fields = [A, B, C, 7, 8, None, "-1", "", b"", b"c" * 8, bytes(8), True, [], b"", None]
    record = encode_record("u", "gw", [[*fields, msgspec.structs.astuple(corrects)]])
    (read,) = decoding.decode_record(1, 0, 0, 9, record)
    (event,) = decode_usage(decode_record(record))
    assert event.corrects == corrects
    values = event_row(1, 0, 0, 9, "gw", 0, event, Outcome(verdict=Verdict.COUNTED))
    row = EventRow(**dict(zip(EVENT_COLUMNS, values, strict=True)))
    assert read.corrects == decoding.Correction.named(row.corrects, row.correction)
    assert corrected_of(row) == corrects
    assert read.corrects[:4] == ((1, 2, 300, 4), 2, True, 3)
    assert read.corrects[6:] == (Decimal("1000000000000.000000001"), "balance", Decimal("2.4"), Decimal(1))
    assert decoding.Correction.named("", "") is None


def test_a_usage_record_from_before_there_were_replays():
    fields = [A, B, C, 7, 8, None, "1", "", b"", b"c" * 8, bytes(8), True, []]
    (read,) = decoding.decode_record(1, 0, 0, 9, encode_record("u", "gw", [fields]))
    assert (read.effective_ms, read.replays) == (8, None)
    for wrong in (fields[:-1], [*fields, b"short"], [*fields, b"", None, None, None]):
        with pytest.raises(ValueError, match="fields"):
            decoding.decode_record(1, 0, 0, 9, encode_record("u", "gw", [wrong]))
    assert decode_usage(decode_record(encode_record("u", "gw", [fields])))[0].replays == b""


def _token_fields(**change):
    fields = {
        "model": "openai/gpt-4o",
        "input": 10,
        "output": 5,
        "cache_read": 7,
        "cache_write": 1,
        "input_cost": "0.1",
        "output_cost": "0.2",
        "cache_read_cost": "0.3",
        "cache_write_cost": "0.0000000000004",
        "base_cost": "0.6000000000004",
        "price_version": "v1",
        "price_since_ms": 9,
    }
    return TokenUse(**{**fields, **change})


def test_the_tokens_of_an_event():
    read = decoding.Tokens.of(msgspec.structs.astuple(_token_fields()))
    assert (read.model, read.read, read.wrote, read.cache_read, read.cache_write) == ("openai/gpt-4o", 10, 5, 7, 1)
    assert (read.base_cost, read.version, read.since_ms) == (Decimal("0.6000000000004"), "v1", 9)
    for wrong in ({"base_cost": "0.6"}, {"cache_write": 4}, {"output": -1}, {"cache_read": -1}, {"cache_write": -1}):
        with pytest.raises(ValueError, match="do not add up"):
            decoding.Tokens.of(msgspec.structs.astuple(_token_fields(**wrong)))


def test_a_dead_letter_without_a_key_is_remembered_as_the_fold_does():
    assert decoding.letter_digest((1, 2, 300, 4)) == dead_digest(Position(1, 2, 300, 4))


def test_an_account_record():
    snapshot = Snapshot(
        organization=A,
        customer=B,
        rev=5,
        status=SubscriptionStatus.ACTIVE,
        end_us=11,
        terms=_terms(),
        next=_terms(since=20_031),
        cut=2,
    )
    read = decoding.decode_record(1, 0, 0, 0, encode_account_record("gw", snapshot))
    assert isinstance(read, decoding.AccountRecord)
    assert (read.organization, read.customer, read.rev, read.status, read.end_us, read.cut) == (
        A,
        B,
        5,
        "active",
        11,
        2,
    )
    assert read.body == encode_snapshot(snapshot)
    assert read.terms is not None
    assert (read.terms.number, read.terms.start_us, read.terms.anchor) == (3, 7, 19_999)
    assert read.next is not None
    assert read.next.since == 20_031
    assert read.terms.features[C].included == Decimal("1.5")
    assert [read.terms.features[one].limited for one in (C, A, B)] == [False, False, False]


def test_an_account():
    account = Account(rev=4, clock_ms=99, cut=1)
    account.totals[(C, 3, 20_000)] = WindowTotal(end=20_031, now=2_500_000_000, at_cut=-1)
    read = decoding.decode_account(encode_account(account))
    assert (read.rev, read.clock_ms, read.cut) == (4, 99, 1)
    assert read.totals == {(C, 3, 20_000): (20_031, Decimal("2.5"), Decimal("-0.000000001"))}


def test_an_account_with_draws():
    account = Account(rev=4)
    account.add_draws((C, 3, 20_000), 20_031, Draws(plan=1, packs=2, top_ups=3, overdraft=4), Draws(plan=-5))
    read = decoding.decode_account(encode_account(account))
    amounts = [tuple(int(amount * 10**9) for amount in four) for four in read.draws[3, 20_000][1:]]
    assert (read.draws[3, 20_000][0], amounts) == (20_031, [(1, 2, 3, 4), (-5, 0, 0, 0)])
    assert read.packs == Decimal("0.000000002")
    assert read.spent == {(C, 3, 20_000): Decimal("0.00000001")}


def test_what_pools_stand_on():
    terms = msgspec.structs.replace(
        _terms(),
        model=ConsumptionModel.BALANCE,
        months=3,
        window_days=30,
        pool=2_500_000_000,
        overdraft=True,
        chain=PoolChain(term=2, window=19_000),
        counts_us=11,
    )
    snapshot = Snapshot(
        organization=A,
        customer=B,
        rev=5,
        status=SubscriptionStatus.ACTIVE,
        end_us=None,
        terms=terms,
        next=None,
        cut=0,
        packs=7,
        top_ups=(TopUp(term=3, window=20_000, amount=1),),
    )
    read = decoding.decode_snapshot(encode_snapshot(snapshot))
    assert (read.packs, read.top_ups) == (Decimal("0.000000007"), ((3, 20_000, Decimal("0.000000001")),))
    assert read.terms is not None
    assert read.terms[5:] == ("balance", 3, 30, Decimal("2.5"), True, (2, 19_000), 11)


def test_a_snapshot_from_before_there_were_pools():
    """Its body ends after the cut, its terms after the features, these after the unit price."""
    feature = [C, "calls", "metered", True, None, False, "0.1"]
    terms = [3, "sub_x", "pln_x", 7, 19_999, 20_000, False, [feature]]
    read = decoding.decode_snapshot(msgspec.msgpack.encode([A, B, 5, "active", None, terms, None, 2]))
    assert (read.packs, read.top_ups) == (0, ())
    assert read.terms is not None
    assert read.terms[5:] == ("metered", 1, 0, 0, False, None, None)
    assert read.terms.features[C] == decoding.FeatureRule("metered", True, None, False, Decimal("0.1"))


def test_a_key_entry_has_its_34_bytes():
    ours = decoding.KeyEntry("n", (1, 2, 3, 4), 1_700_000_000_000, b"c" * 8, b"r" * 8)
    theirs = KeyEntry(
        kind=EntryKind.COUNTED,
        position=Position(1, 2, 3, 4),
        at_ms=1_700_000_000_000,
        content=b"c" * 8,
        request=b"r" * 8,
    )
    assert ours.to_bytes() == encode_entry(theirs)
    assert len(ours.to_bytes()) == 34


def test_outcomes_and_event_ids():
    outcome = Outcome(verdict=Verdict.DUPLICATE, original=Position(1, 2, 3, 4).to_bytes())
    assert decoding.decode_outcomes(encode_outcomes([outcome]))[0][0] == "duplicate"
    assert decoding.event_id((1, 2, 3, 4)) == Position(1, 2, 3, 4).event_id()


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", b"\x94\x02\xa1u\xa0\x90", b"\x94\x01\xa1x\xa0\x90", b"\x94\x01\xa1u\xa0\x91\x90"]
)
def test_what_is_no_record_is_refused(data):
    with pytest.raises(ValueError):
        decoding.decode_record(1, 0, 0, 0, data)

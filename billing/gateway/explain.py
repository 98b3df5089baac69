"""Why: of an invoice, a line, a close, an event or a refused request, in rules, terms, windows and arithmetic.

One answer for `GET /explain/{id}` and the operator's `explain`. It reads and never writes. A seller sees its own
organization; who asks without one is an operator and sees all. Source: R-GEN-7, R-INV-6, R-ERR-2.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from aggregator.correction_event import counted_now
from aggregator.judgement import Before, judgement_wire, place_of
from aggregator.row import EventRow, RefusalRow
from aggregator.store import UsageStore
from aggregator.usage import EventSums, position_of
from billing.gateway.event_invoice import events_of, line_of
from billing.gateway.upcoming import account_of
from billing.life.frozen import PeriodTerms
from billing.life.lifecycle import due_of
from billing.money.agreement import difference
from billing.money.closing import Window, WindowUsage
from billing.money.explanation.fact import Fact
from billing.money.explanation.line import line_wire
from billing.money.explanation.terms import terms_wire
from billing.money.invoice import Invoice, Line
from billing.money.reproduction import as_it_stood
from billing.store import close as closes
from billing.store import credit, terms
from billing.store import invoice as invoices
from billing.store import seat as seats
from billing.store import subscription as subscriptions
from billing.store.close import CloseRow, CloseState
from billing.store.cut import CLOSE_ID
from billing.wire.invoice import number_text
from catalog.gateway import Catalog
from ingest.verdict import Verdict
from kernel import ids
from kernel.engine.live.base import Live
from kernel.engine.sql.base import Sql
from kernel.errors import rejected
from kernel.period import DAY_MS, date_of, instant_text
from kernel.position import EVENT_PREFIX, Position
from kernel.quantity import canonical

# RAW has an event within a second or so; whoever asks at once waits for it.
_LOOKS: Final = 20
_LOOK_SECONDS: Final = 0.1
KINDS: Final = (ids.INVOICE, ids.INVOICE_LINE, ids.SUBSCRIPTION, CLOSE_ID, EVENT_PREFIX, ids.REFUSAL, ids.REQUEST)

Told = dict[str, Any]


class Explainer:
    """Answers why. Methods raise Rejected with the code of what there is not."""

    def __init__(self, sql: Sql, live: Live, usage_store: UsageStore, catalog: Catalog) -> None:
        self._sql = sql
        self._live = live
        self._usage_store = usage_store
        self._catalog = catalog

    async def explain(self, what: str, organization: str | None = None) -> Told:
        """Explain what an id names, of one organization (`org_…`), or of any. Raises Rejected."""
        if what.startswith(EVENT_PREFIX):
            return await self._event(what, organization)
        if what.startswith((ids.REQUEST, ids.REFUSAL)):
            return await self._request(what, organization)
        if ids.is_id(ids.INVOICE, what):
            return await self.explain_invoice(what, organization)
        if ids.is_id(ids.INVOICE_LINE, what):
            return await self._line(what, organization)
        if ids.is_id(ids.SUBSCRIPTION, what) or ids.is_id(CLOSE_ID, what):
            return await self.explain_close(what, organization)
        prefixes = ", ".join(f"{prefix}…" for prefix in KINDS)
        raise rejected("not_found", f"There is nothing to explain by {what}: send one of {prefixes}.", rule="R-GEN-7")

    async def explain_invoice(self, invoice_id: str, organization: str | None = None) -> Told:
        """Explain an invoice and each of its lines. Raises Rejected `invoice_not_found`."""
        fact = await self._fact(invoice_id, organization)
        lines = [line_wire(line_id, line, fact) for line_id, line in fact.lines]
        return {**_invoice_head(fact), "lines": lines}

    async def _line(self, line_id: str, organization: str | None) -> Told:
        async with self._sql.snapshot() as connection:
            invoice_id = await invoices.holding(connection, line_id, organization)
        if invoice_id is None:
            raise rejected("not_found", f"There is no invoice line {line_id}.")
        fact = await self._fact(invoice_id, organization)
        line = dict(fact.lines)[line_id]
        return {**line_wire(line_id, line, fact), "invoice": _invoice_head(fact)}

    async def _fact(self, invoice_id: str, organization: str | None) -> Fact:
        async with self._sql.snapshot() as connection:
            invoice = await invoices.read(connection, invoice_id, organization)
            if invoice is None:
                raise rejected("invoice_not_found", f"There is no invoice {invoice_id}.")
            lines = await invoices.lines(connection, invoice_id)
            own = [] if invoice.subscription_id is None else [invoice.subscription_id]
            periods = [one for found in (await terms.rating_all(connection, own)).values() for one in found]
            billed = await invoices.billed(connection, own, before_cut=invoice.cut, void_before_ms=invoice.created_ms)
            seated = await seats.history(connection, [invoice.customer_id])
            taken = await credit.taken_by(connection, invoice_id)
        return Fact(
            invoice=invoice,
            lines=lines,
            periods=as_it_stood(periods, invoice, [line for _, line in lines]),
            billed=billed[own[0]] if own else {},
            events={line_id: found async for line_id, found in self._events_of(invoice, lines)},
            seats=seated[invoice.customer_id],
            credits=taken,
        )

    async def _events_of(
        self, invoice: Invoice, lines: Sequence[tuple[str, Line]]
    ) -> AsyncIterator[tuple[str, EventSums]]:
        for line_id, line in lines:
            asked = events_of(invoice, line)
            if asked is not None:
                yield line_id, await self._usage_store.line_sums(asked)

    async def _event(self, what: str, organization: str | None) -> Told:
        row = await self._stored(what, organization)
        if row is None:
            raise rejected("event_not_found", f"No usage event {what}, or it is not judged and stored yet.")
        return await self.explain_row(row)

    async def _stored(self, what: str, organization: str | None) -> EventRow | None:
        """Read an event from RAW; one that is newer than RAW is waited for."""
        position = Position.from_event_id(what)
        if position is None:
            return None
        for _ in range(_LOOKS):
            row = await self._usage_store.event_at(position)
            if row is not None:
                return row if organization in (None, row.organization) else None
            if position.lane >= self._catalog.deployment.lanes:
                return None
            header = (await self._live.view(position.lane, [])).header
            if header is None or (position.epoch, position.offset) < (header.epoch, header.sunk):
                return None
            await asyncio.sleep(_LOOK_SECONDS)
        return None

    async def explain_row(self, row: EventRow) -> Told:
        """Explain an event that RAW has: why it counts or not, under which terms, and which line bills it."""
        snapshot = await self._usage_store.stood_at(row)
        # Its own clock is not known before its window is: a first look takes the event's, which is no earlier.
        before = Before()
        place = place_of(row, snapshot, 0)
        for _ in range(2):
            if place is not None:
                before = await self._usage_store.counted_before(row, place.key[1], place.key[2])
                place = place_of(row, snapshot, before.clock_ms)
        counts = row.verdict == Verdict.COUNTED
        line = await line_of(self._sql, row) if counts else None
        corrections = await self._usage_store.corrections_of(row) if counts and not row.corrects else []
        feature = self._catalog.feature_by_id(ids.id_bytes(row.feature))
        return {
            "id": position_of(row).event_id(),
            "kind": "event",
            "verdict": row.verdict,
            "code": row.code or None,
            "customerId": row.customer,
            "featureCode": row.feature if feature is None else feature.code,
            "value": row.quantity,
            "eventTime": instant_text(row.event_time // 1000),
            "acceptedAt": instant_text(row.accepted_at),
            **judgement_wire(row, snapshot, before),
            "originalEventId": row.original or None,
            "replaysEventId": row.replays or None,
            "correctsEventId": row.corrects or None,
            "correctionIds": [position_of(one).event_id() for one in corrections],
            "valueNow": canonical(counted_now(row, corrections)) if corrections else None,
            "invoiceId": None if line is None else line[0],
            "invoiceLineId": None if line is None else line[1],
        }

    async def _request(self, what: str, organization: str | None) -> Told:
        if what.startswith(ids.REFUSAL):
            one = await self._usage_store.refusal(organization, what)
            found = [] if one is None else [one]
        else:
            found = await self._refusals_of(what, organization)
        if not found:
            raise rejected(
                "not_found",
                f"No refused request {what} is kept: it was answered, it was refused a moment ago, or too many were.",
            )
        told = [await self._refusal(row) for row in found]
        head = {"id": what, "kind": "refused_request", "requestId": found[0].request or None}
        return {**told[0], **head, **({"refusals": told} if len(told) > 1 else {})}

    async def _refusals_of(self, request_id: str, organization: str | None) -> list[RefusalRow]:
        """Read a request's refusals; they are written once a second."""
        for _ in range(_LOOKS):
            found = await self._usage_store.refusals_of(organization, request_id)
            if found:
                return found
            await asyncio.sleep(_LOOK_SECONDS)
        return []

    async def _refusal(self, row: RefusalRow) -> Told:
        """Spell a refusal: the rule and the terms then in force, or what the fold saw of an event that it refused."""
        told: Told = {
            "refusalId": row.id,
            "route": row.route or None,
            "at": instant_text(row.at),
            "organizationTime": instant_text(row.now_ms or row.at),
            "code": row.code,
            "message": row.message,
            "field": row.param or None,
            "rule": row.rule or None,
            "why": row.message,
            "body": row.body or None,
        }
        if row.event:
            event = await self._stored(row.event, row.organization)
            if event is not None:
                return {**told, **_of_event(row, await self.explain_row(event))}
        return {**told, "customerId": row.customer or None, "terms": await self._terms_then(row)}

    async def _terms_then(self, row: RefusalRow) -> Told | None:
        """Tell the terms that stood when a request was refused, of its subscription or its customer's."""
        named = next((part for part in row.route.split("/") if ids.is_id(ids.SUBSCRIPTION, part)), None)
        organization = ids.id_bytes(row.organization)
        customer = await self._catalog.customer(organization, row.customer) if row.customer else None
        async with self._sql.snapshot() as connection:
            found = None
            if named is not None:
                found = await subscriptions.read(connection, named, row.organization)
            elif customer is not None:
                found = await subscriptions.current_of(connection, customer.id_text)
            periods = [] if found is None else await terms.of(connection, found.id)
        begun = [one for one in periods if one.since_day <= (row.now_ms or row.at) // DAY_MS]
        stood: PeriodTerms | None = max(begun, key=lambda one: (one.since_day, one.term), default=None)
        return None if found is None or stood is None else {"subscriptionId": found.id, **terms_wire(stood)}

    async def explain_close(self, what: str, organization: str | None = None) -> Told:
        """Explain a subscription's closes, or one of them; of one that is not settled both sides are compared anew.

        Raises Rejected `subscription_not_found`.
        """
        async with self._sql.snapshot() as connection:
            named = await closes.read_all(connection, [what]) if what.startswith(CLOSE_ID) else []
            subscription_id = named[0].subscription_id if named else what
            subscription = await subscriptions.read(connection, subscription_id, organization)
            if subscription is None:
                raise rejected("subscription_not_found", f"There is no subscription {what}.")
            found = named or await closes.of_subscription(connection, subscription_id)
            periods = await terms.of(connection, subscription_id)
        end, due = subscription.period_end_day, due_of(subscription)
        return {
            "id": what,
            "kind": "close" if named else "subscription",
            "rule": "R-INV-11" if named else "R-SUB-5",
            "subscription": subscription.id,
            "customer": subscription.customer_id,
            "status": subscription.status.value,
            "periodStart": date_of(subscription.period_start_day).isoformat(),
            "periodEnd": None if end is None else date_of(end).isoformat(),
            "due": None if due is None else {"at": instant_text(due.at_us // 1000), "step": due.command.value},
            "terms": [terms_wire(one) for one in periods],
            "closes": [await self._close(close) for close in found],
        }

    async def _close(self, close: CloseRow) -> Told:
        told: Told = {
            "close": close.id,
            "cut": close.cut,
            "state": close.state.value,
            "final": close.final,
            "periodStart": instant_text(close.start_day * DAY_MS),
            "periodEnd": instant_text(close.end_us // 1000),
            "invoice": close.invoice_id,
            "refusal": close.refusal,
            "liveWhenStopped": close.live,
            "rawWhenStopped": close.raw,
        }
        if close.state is CloseState.SETTLED:
            return told if close.returns_term is None else {**told, "givenBack": await self._given_back(close)}
        account = await account_of(self._live, self._catalog.deployment.lanes, close.customer_id)
        totals = await self._totals(close.organization_id, close.customer_id, close.cut)
        found = difference(account, totals)
        return {
            **told,
            "liveCutNow": account.cut,
            "liveNow": {} if found is None else found.live,
            "rawNow": {} if found is None else found.raw,
        }

    async def _given_back(self, close: CloseRow) -> Told:
        """Tell which terms' top-ups a close gave back, and the credit, None where nothing was left; minor units."""
        async with self._sql.snapshot() as connection:
            found = await credit.granted_by(connection, close.id)
        return {
            "rule": "R-MODEL-3",
            "term": close.returns_term,
            "credit": None if found is None else found.id,
            "amount": 0 if found is None else found.amount_minor,
        }

    async def _totals(self, organization: str, customer: str, cut: int) -> Mapping[Window, WindowUsage]:
        rows = await self._usage_store.totals_at_cut(organization, {customer: cut})
        return {
            Window(row.feature, row.term, row.window): WindowUsage(end=row.window_end, units=row.units) for row in rows
        }


def _of_event(row: RefusalRow, judged: Told) -> Told:
    """Say of a refusal what is known of its event; one that was refused for its key may have only the key's holder."""
    if judged["verdict"] == Verdict.COUNTED:
        return {"verdict": row.code, "originalEventId": row.event, "original": judged, "terms": judged["terms"]}
    return {**judged, "eventId": row.event, "message": row.message, "code": row.code}


def _invoice_head(fact: Fact) -> Told:
    """Spell an invoice and how what is due of it comes about; amounts are minor units (R-GEN-2, R-INV-12)."""
    invoice = fact.invoice
    return {
        "id": invoice.id,
        "kind": "invoice",
        "rule": "R-INV-1",
        "invoiceNumber": number_text(invoice.number),
        "invoiceType": invoice.kind.value,
        "source": invoice.source,
        "customerId": invoice.customer_id,
        "subscriptionId": invoice.subscription_id,
        "cut": invoice.cut,
        "issueDate": instant_text(invoice.issued_ms),
        "periodStart": instant_text(invoice.period_start_ms),
        "periodEnd": instant_text(invoice.period_end_ms),
        "currency": invoice.currency,
        "arithmetic": {
            "formula": "total = sum of lines; due + carriedOut = max(0, total) + carriedIn",
            "inputs": {
                "sumOfLines": sum(line.amount_minor for _, line in fact.lines),
                "carriedIn": invoice.carried_in_minor,
                "carriedOut": invoice.carried_out_minor,
                "credited": invoice.credited_minor,
            },
            "total": invoice.total_minor,
            "due": invoice.due_minor,
        },
        "basis": {"terms": invoice.basis.terms, "priceVersions": invoice.basis.price_versions},
    }

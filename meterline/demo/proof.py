"""The proof at the demo's end: what the client knows, against what the audit counts, and the live store made anew."""

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

from kernel.quantity import canonical
from kernel.settings import Settings
from meterline.cli.call import call
from meterline.cli.data import print_report
from meterline.demo.plug import Plug
from meterline.demo.stage import Stages
from meterline.importer.api import Api


async def prove(stages: Stages, settings: Settings, organization: str, plug: Plug, small: tuple[str, int]) -> None:
    """Audit, and compare the client's keys with the audit's and RAW's, and all sums. Raises Fatal on a difference.

    `organization` had the load; `small` is the other seller's id, and how many of its events counted.
    """
    report = await call(settings, "audit", {})
    print_report(report)
    load = next(one for one in report["organizations"] if one["organization"] == organization)
    keys, print_of = plug.acknowledged.count, plug.acknowledged.fingerprint
    counted = load["keysCounted"] == keys and load["keysFingerprint"] == print_of
    stages.check(f"acknowledged keys {keys:,} = keys the audit counts from the log {load['keysCounted']:,}", counted)
    rows = load["rowsCounted"] == keys and load["rowsFingerprint"] == print_of
    stages.check(f"  = counted rows in RAW {load['rowsCounted']:,} (the same keys, by fingerprint)", rows)
    (sums,) = load["features"]
    whole = canonical(Decimal(plug.sum))
    equal = whole == sums["log"] == sums["raw"] == sums["live"]
    stages.check(f"sum sent {whole} = log {sums['log']} = RAW {sums['raw']} = LIVE {sums['live']}", equal)
    seller, known = small
    own = next(one for one in report["organizations"] if one["organization"] == seller)
    same = (own["keysCounted"], own["rowsCounted"]) == (known, known)
    stages.check(f"of the month and the three models {known:,} keys: log and RAW have the same", same)
    stages.check(f"the log is whole: {report['records']:,} records from its first", report["logComplete"])
    stages.check(f"the audit's verdict: {report['verdict']}", report["differenceCount"] == 0)


async def rebuild(stages: Stages, settings: Settings, answers: Callable[[], Awaitable[Any]]) -> None:
    """Throw the live store away and make it again; every byte and all that `answers` gives is as before."""
    before = await answers()
    result = await call(settings, "rebuild", {"lanes": None})
    accounts, keys = (sum(lane[name] for lane in result["lanes"]) for name in ("accounts", "keys"))
    stages.say(f"{accounts:,} accounts and {keys:,} keys made again from RAW")
    same = all(lane["identical"] for lane in result["lanes"])
    stages.check("accounts and keys are byte-identical", same)
    said = "feature access answers as before, of all three models; the duplicate is still refused"
    stages.check(said, await answers() == before)


async def load_answers(api: Api, customer: str) -> Any:
    """Tell what the API says of a customer of the load, and to the repetition of an event that counted."""
    access = await api.get("/feature-access/requests", customerId=customer)
    again = {"featureCode": "requests", "customerId": customer, "eventId": "load-0", "value": 1}
    duplicate = await api.post("/usage/events", again)
    body = {name: value for name, value in access.body.items() if name not in ("asOf", "lagMs")}
    return access.status, body, duplicate.status, duplicate.body.get("details")

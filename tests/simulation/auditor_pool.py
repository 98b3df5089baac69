"""Pools by the auditor's count: plain integers of 1e-9, every window gone through for every event."""

from collections import defaultdict
from decimal import ROUND_HALF_UP, Decimal

ONE = 10**9
DAY_US = 86_400_000_000
PLAN, PACKS, TOP_UPS, OVERDRAFT = range(4)


def _rounded(amount: Decimal) -> int:
    return int(amount.quantize(Decimal(1), rounding=ROUND_HALF_UP))


class PoolCount:
    """What one customer drew, by (number of the terms, first day of the window)."""

    def __init__(self) -> None:
        self.drawn: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0] * 4)
        self.at_cut: dict[tuple[int, int], list[int]] = {}
        self.ends: dict[tuple[int, int], int] = {}

    @property
    def packs(self) -> int:
        return sum(draws[PACKS] for draws in self.drawn.values())

    def cut(self) -> None:
        self.at_cut = {key: list(draws) for key, draws in self.drawn.items()}

    def kept(self, today: int) -> dict:
        """What LIVE has to have: recent windows, and those that took from top-ups or went into overdraft."""
        return {
            key: (tuple(draws), tuple(self.at_cut.get(key, [0] * 4)))
            for key, draws in self.drawn.items()
            if key in self.ends and (self.ends[key] > today - 36 or draws[TOP_UPS] + draws[OVERDRAFT])
        }

    def left(self, terms, bought, key, month_of):
        """Tell what a window of a pool has left: the plan's part, what was bought, and the overdraft."""
        packs_bought, top_ups = bought
        plan = max(0, terms[11] - (self.drawn[key][PLAN] if key in self.drawn else 0))
        if terms[8] == "credits":
            return plan, max(0, packs_bought - self.packs), 0
        extra, short = self._top_ups(terms, terms[9], top_ups, key, month_of)
        return max(0, plan - short), extra, max(0, short - plan)

    def give_back(self, key, amount):
        """Give an amount back to a window, last what was drawn first; returns the draws, which are negative."""
        now, parts = self.drawn[key], [0] * 4
        for part in (OVERDRAFT, TOP_UPS, PACKS, PLAN):
            parts[part] = -min(amount, now[part])
            amount += parts[part]
        assert not amount, "nothing comes back that was not drawn"
        self.drawn[key] = [one + other for one, other in zip(now, parts, strict=True)]
        return parts

    def take(self, units, terms, granted, bought, key, end, month_of, before):
        """Take an event's cost from the pool, or tell that it is blocked; gives what it drew.

        An event that counted `before` units costs what more it would have cost from the start.
        """
        model, overdraft = terms[8], terms[12]
        price = Decimal(granted[7] if model == "credits" else granted[6])
        cost = _rounded((before + units) * price) - _rounded(before * price)
        plan, extra, short = self.left(terms, bought, key, month_of)
        from_plan = min(cost, plan)
        from_extra = min(cost - from_plan, extra)
        rest = cost - from_plan - from_extra
        if rest and not (overdraft and model == "balance"):
            return None
        parts = [from_plan, from_extra if model == "credits" else 0, 0 if model == "credits" else from_extra, rest]
        self.drawn[key] = [one + other for one, other in zip(self.drawn[key], parts, strict=True)]
        self.ends[key] = max(end, self.ends.get(key, 0))
        return (model, cost, *parts, plan + extra - short - cost)

    def _top_ups(self, terms, months, top_ups, key, month_of):
        """What is left of top-ups, and the overdraft: from the last renewal of these terms on."""
        number, window = key
        anchor, start = terms[4], terms[3] // DAY_US
        first, _ = month_of(start, anchor)
        begin = first
        count, at = 0, anchor
        while at <= window:
            if count % months == 0 and at > first:
                begin = at
            count, (_, at) = count + 1, month_of(at, anchor)
        left = short = 0
        places = {place for place in self.drawn if place[0] == number} | {(term, day) for term, day, _ in top_ups}
        for place in sorted({*places, key}):
            if place[0] == number and begin <= place[1] <= window:
                left += sum(amount for term, day, amount in top_ups if (term, day) == place)
                left -= self.drawn[place][TOP_UPS] + self.drawn[place][OVERDRAFT] if place in self.drawn else 0
                left, short = max(0, left), max(0, -left)
        return left, short

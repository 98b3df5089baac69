"""A steady mix of usage and access calls, as clients send them: black box, over HTTP.

Customers are drawn by Zipf's law, so that a few are hot; one event in twenty is sent again under its key; values are
whole. The run's file (`METERLINE_LOADTEST`) names the customers and the key that `loadtests/run.py` made. A 409 for a
repetition is right, everything else but 2xx is a failure.
"""

import itertools
import json
import os
import random
import uuid

from locust import FastHttpUser, constant_throughput, task

PLAN = json.loads(os.environ.get("METERLINE_LOADTEST", "{}"))
CUSTOMERS = PLAN.get("customers", [])
HEADERS = {"x-api-key": PLAN.get("key", ""), "content-type": "application/json"}
ZIPF = 1.1
REPEATED = 0.05
BATCH = 100
WEIGHTS = list(itertools.accumulate(1 / (rank**ZIPF) for rank in range(1, len(CUSTOMERS) + 1)))


def customer():
    return random.choices(CUSTOMERS, cum_weights=WEIGHTS)[0]


class Application(FastHttpUser):
    """One application that reports what its customers use, and asks before it lets them."""

    wait_time = constant_throughput(PLAN.get("calls_per_second", 10))

    def on_start(self):
        self.sent = []

    def event(self):
        if self.sent and random.random() < REPEATED:
            return random.choice(self.sent), True
        made = {
            "featureCode": "requests",
            "customerId": customer(),
            "eventId": uuid.uuid4().hex,
            "value": random.randint(1, 9),
        }
        self.sent = [*self.sent[-199:], made]
        return made, False

    @task(10)
    def track(self):
        body, repeated = self.event()
        with self.client.post(
            "/api/v1/usage/events", json=body, headers=HEADERS, name="track", catch_response=True
        ) as answer:
            if repeated and answer.status_code == 409:
                answer.success()
            elif not answer.ok:
                answer.failure(f"{answer.status_code} {answer.text[:200]}")

    @task(3)
    def batch(self):
        drawn = [self.event() for _ in range(BATCH)]
        body = {"events": [event for event, _ in drawn]}
        with self.client.post(
            "/api/v1/usage/events/batch", json=body, headers=HEADERS, name="batch of 100", catch_response=True
        ) as answer:
            if not answer.ok:
                answer.failure(f"{answer.status_code} {answer.text[:200]}")
                return
            wrong = [one for one in answer.json()["results"] if one["status"] not in ("accepted", "duplicate")]
            if wrong:
                answer.failure(f"{len(wrong)} of {BATCH}: {wrong[0]}")

    @task(10)
    def can_use(self):
        path = f"/api/v1/features/requests?customerId={customer()}&action=canUse"
        with self.client.get(path, headers=HEADERS, name="canUse", catch_response=True) as answer:
            if not answer.ok:
                answer.failure(f"{answer.status_code} {answer.text[:200]}")
            elif answer.json().get("allowed") is not True:
                answer.failure(f"not allowed: {answer.text[:200]}")

"""The hot routes are in the OpenAPI document, though Litestar never serves them."""

import json

from litestar import Litestar
from litestar.testing import TestClient

from ingest.routes import OPENAPI_TWINS


def test_the_twins_describe_both_calls():
    schema = Litestar(route_handlers=list(OPENAPI_TWINS)).openapi_schema.to_schema()
    for path, body in (("/usage/events", "TrackBody"), ("/usage/events/batch", "BatchBody")):
        post = schema["paths"][path]["post"]
        assert body in json.dumps(post["requestBody"])
        assert "200" in post["responses"]
    assert {"featureCode", "customerId"} <= set(schema["components"]["schemas"]["TrackBody"]["required"])


def test_a_path_that_only_litestar_takes_for_theirs_is_not_found():
    with TestClient(Litestar(route_handlers=list(OPENAPI_TWINS))) as client:
        answer = client.post("/usage/events", json={"featureCode": "a", "customerId": "c"})
        assert answer.status_code == 404
        answer = client.post("/usage/events/batch", json={"events": [{"featureCode": "a", "customerId": "c"}]})
        assert answer.status_code == 404

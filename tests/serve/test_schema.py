"""Requests drawn from the OpenAPI document: no fault of the server, and every answer as the document says."""

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis, which draws requests, is not installed")
from schemathesis.specs.openapi.checks import positive_data_acceptance  # noqa: E402

OPERATIONS = (
    "POST /v1/audio/speech", "POST /v1/text-to-speech/{voice}", "POST /v1/text-to-speech/{voice}/with-timestamps",
    "POST /v1/text-to-speech/{voice}/stream/with-timestamps", "GET /v1/models/{name}", "POST /v1/audio/voices",
    "DELETE /v1/audio/voices/{name}", "GET /v1/audio/voices", "GET /v1/voices", "GET /health/ready", "GET /metrics",
)  # fmt: skip


def requests_of(operation, examples):
    """A function that makes so many requests and checks the answers."""

    @seed(0)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def run(case):
        # what is well formed may still be refused: a voice that is not here, a text without words
        case.call_and_validate(excluded_checks=[positive_data_acceptance])

    return run


def test_every_answer_is_as_the_document_says(told):
    _, client = told(most_characters=50)
    schema = schemathesis.openapi.from_url(f"{client.base_url}/openapi.json")
    tried = []
    for result in schema.get_all_operations():
        operation = result.ok()
        requests_of(operation, 5 if operation.label in OPERATIONS else 1)()
        tried.append(operation.label)
    assert set(OPERATIONS) <= set(tried)

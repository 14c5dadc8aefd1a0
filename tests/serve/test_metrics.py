"""Figures at `/metrics`."""

from tests.browser import wait_for
from tests.serve.conftest import figure


def test_metrics_count(client):
    client.post("/v1/audio/speech", json={"input": "Hello."})
    for name in (
        "mamtra_first_audio_seconds_bucket", "mamtra_real_time_factor_sum", "mamtra_streams_waiting", "mamtra_underruns_total",
        'mamtra_http_requests_total{method="POST",route="/v1/audio/speech",status="200"}', "mamtra_speech_tokens_total",
    ):  # fmt: skip
        wait_for(lambda name=name: name in client.get("/metrics").text)  # a request is counted once it is over


def test_what_the_model_holds(told):
    tts, client = told()
    names = ("runs_running", "runs_waiting", "kv_bytes", "state_bytes", "flow_bytes")
    assert [figure(client, f"mamtra_{name}") for name in names] == [1, 2, 3000, 400, 50]
    tts.repeats = 2
    client.post("/v1/audio/speech", json={"input": "one two"})
    wait_for(lambda: 'mamtra_stops_total{reason="eos"} 1.0' in client.get("/metrics").text)
    assert figure(client, "mamtra_repeated_runs_total") == 2

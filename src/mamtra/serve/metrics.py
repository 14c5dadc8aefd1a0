"""Figures for Prometheus, at `/metrics`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

if TYPE_CHECKING:
    from mamtra.serve.admission import Admission
    from mamtra.tts import TTS

_FIRST = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30)
_FACTOR = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1, 1.5, 2, 5)


class Spoken(NamedTuple):
    """How the speech of a text went.

    Attributes:
        seconds: of audio.
        tokens: speech tokens.
        repeats: runs of the LM that were repeated.
        underruns: gaps that its listener heard.
        reason: why it ended.
        first_audio: seconds to the first audio; None without any.
        took: seconds to the last audio.
    """

    seconds: float
    tokens: int
    repeats: int
    underruns: int
    reason: str
    first_audio: float | None
    took: float


class Metrics:
    """Counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own = {"registry": self.registry}
        self._requests = Counter(
            "mamtra_http_requests", "Answers by method, route and status.", ["method", "route", "status"], **own
        )
        self._first = Histogram(
            "mamtra_first_audio_seconds", "From the request to the first audio.", buckets=_FIRST, **own
        )
        self._factor = Histogram(
            "mamtra_real_time_factor",
            "From the request to the last audio over the duration of the audio.",
            buckets=_FACTOR,
            **own,
        )
        self._audio = Counter("mamtra_audio_seconds", "Audio made.", **own)
        self._tokens = Counter("mamtra_speech_tokens", "Speech tokens made.", **own)
        self._underruns = Counter("mamtra_underruns", "Gaps that listeners heard, seen from the server.", **own)
        self._gaps = Counter("mamtra_streams_with_underruns", "Streams with a gap or more.", **own)
        self._repeats = Counter(
            "mamtra_repeated_runs", "Runs repeated as words were left out, said twice, or no end came.", **own
        )
        self._stops = Counter("mamtra_stops", "Ends of speech: eos, length, cancelled, error.", ["reason"], **own)
        self._refused = Counter("mamtra_refused", "Requests that were not admitted, by reason.", ["reason"], **own)
        ProcessCollector(registry=self.registry)  # memory and CPU time, on Linux

    def watch(self, admission: Admission, tts: TTS) -> None:
        """Show how many speak and wait, and what the model holds."""
        for name, about, value in (
            ("mamtra_streams_running", "Texts that are being spoken.", lambda: admission.busy),
            ("mamtra_streams_waiting", "Requests that wait.", lambda: admission.waiting),
            ("mamtra_streams_most", "Texts that may be spoken side by side.", lambda: admission.streams),
            (
                "mamtra_memory_budget_bytes",
                "For the texts being spoken; 0 for no limit.",
                lambda: admission.budget or 0,
            ),
            ("mamtra_memory_reserved_bytes", "That they may take at most.", lambda: admission.held),
            ("mamtra_runs_running", "Runs of the language model on their way.", lambda: tts.decoding.running),
            ("mamtra_runs_waiting", "Runs that wait for a slot of the engine.", lambda: tts.decoding.waiting),
            ("mamtra_guarded_draws", "Draws from which a guard has kept a token.", lambda: tts.decoding.guarded),
            ("mamtra_kv_bytes", "Keys and values of the language model.", lambda: tts.decoding.kv_bytes),
            ("mamtra_state_bytes", "Its convolution and SSM states.", lambda: tts.decoding.state_bytes),
            ("mamtra_flow_bytes", "Caches of the flow: prompts and streams.", lambda: tts.flow_bytes),
        ):
            Gauge(name, about, registry=self.registry).set_function(value)

    def answered(self, method: str, route: str, status: int) -> None:
        """A request was answered."""
        self._requests.labels(method, route, str(status)).inc()

    def ended(self, spoken: Spoken) -> None:
        """A text was spoken, or given up."""
        self._audio.inc(spoken.seconds)
        self._tokens.inc(spoken.tokens)
        self._repeats.inc(spoken.repeats)
        self._underruns.inc(spoken.underruns)
        self._gaps.inc(spoken.underruns > 0)
        self._stops.labels(spoken.reason or "error").inc()
        if spoken.first_audio is not None:
            self._first.observe(spoken.first_audio)
            if spoken.reason in ("eos", "length"):
                self._factor.observe(spoken.took / spoken.seconds)

    def refused(self, reason: str) -> None:
        """A request was not admitted."""
        self._refused.labels(reason).inc()

    def page(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self.registry)

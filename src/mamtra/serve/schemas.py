"""Bodies of requests, as OpenAI's clients send them, with a few fields more."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from mamtra.serve.speaker import LARGEST_SEED

FlowSteps = Annotated[
    int | None,
    Field(ge=0, le=10**6, strict=True, description="Steps of the flow, 1 to 32, or those that it was trained for."),
]


class VoiceId(BaseModel):
    """A voice as an object."""

    id: str


class SpeechRequest(BaseModel):
    """A text that is to be spoken. Fields that are not named here are ignored."""

    model_config = ConfigDict(extra="ignore")

    model: str | None = Field(None, max_length=200, description="Any name, or with --strict-models one that is served.")
    input: str = Field(description="The text.", examples=["Good morning."])
    voice: str | VoiceId | None = Field(None, description="Name of a voice; the model's own by default.")
    response_format: str = Field("mp3", max_length=20, description="mp3, opus, aac, flac, wav or pcm.")
    speed: Annotated[float, Field(allow_inf_nan=False)] | None = Field(1.0, description="0.5 (slow) to 2 (fast).")
    instructions: str | None = Field(None, max_length=4096, description="How to speak, for models that follow it.")
    stream_format: Literal["audio", "sse"] | None = Field("audio", description="Bytes of audio, or events with base64.")
    stream: bool | None = Field(
        True, description="Audio while it is made. Off: a complete file of sentences made as a whole, and its length."
    )
    word_timestamps: bool | None = Field(
        False, description="Answer with JSON that holds the sound in base64 and its words; events tell them at the end."
    )
    seed: int | None = Field(
        None, ge=0, le=LARGEST_SEED, strict=True, description="The same seed gives the same audio."
    )
    flow_steps: FlowSteps = None
    language: str | None = Field(None, max_length=35, description="Language of the text.")
    sample_rate: int | None = Field(
        None, ge=0, le=10**6, strict=True, description="8000, 12000, 16000, 24000 or 48000 Hz; the model's by default."
    )

    @property
    def voice_name(self) -> str | None:
        """Name of the voice."""
        return self.voice.id if isinstance(self.voice, VoiceId) else self.voice


EXAMPLES = {
    "a file": {"value": {"model": "tts-1", "input": "Good morning.", "voice": "alloy"}},
    "events": {
        "value": {
            "input": "Good morning.",
            "voice": "nora",
            "response_format": "pcm",
            "stream_format": "sse",
            "seed": 7,
        }
    },
}

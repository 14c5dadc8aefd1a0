"""Services of LiveKit and Pipecat, unmodified, against the server; skipped where these frameworks are not installed."""

import asyncio
from importlib.util import find_spec

import pytest

has = {name: find_spec(name) is not None for name in ("livekit", "pipecat", "aiohttp")}
needs_livekit = pytest.mark.skipif(
    not has["livekit"], reason="livekit-plugins-openai and -elevenlabs are not installed"
)
needs_pipecat = pytest.mark.skipif(not has["pipecat"], reason="pipecat-ai[openai,elevenlabs] is not installed")
TEXT = "Hello there. How are you?"


async def heard(stream):
    """Seconds of audio and the timed words of a LiveKit stream."""
    seconds, words = 0.0, []
    async for event in stream:
        seconds += event.frame.duration
        words += event.frame.userdata.get("lk.timed_transcripts", [])
    return seconds, words


@needs_livekit
@pytest.mark.parametrize("model", ["gpt-4o-mini-tts", "tts-1"])
def test_livekit_openai(base, model):
    """The first model is asked for server-sent events, the second one for bytes; both in mp3."""
    from livekit.agents.utils import http_context
    from livekit.plugins import openai

    async def run():
        async with http_context.open():
            tts = openai.TTS(base_url=f"{base}/v1", api_key="x", model=model, voice="ash")
            return await heard(tts.synthesize(TEXT))

    assert asyncio.run(run())[0] > 0.5


@needs_livekit
def test_livekit_elevenlabs(base):
    """Text in parts over a WebSocket, audio and times of words back."""
    from livekit.agents.utils import http_context
    from livekit.plugins import elevenlabs

    async def run():
        async with http_context.open():
            tts = elevenlabs.TTS(
                base_url=f"{base}/v1", api_key="x", voice_id="tiny", encoding="pcm_24000", sync_alignment=True
            )
            async with tts.stream() as stream:
                for part in ("Hello th", "ere. How ", "are you?"):
                    stream.push_text(part)
                stream.end_input()
                found = await heard(stream)
            await tts.aclose()
            return found

    seconds, words = asyncio.run(run())
    assert seconds > 0.5
    assert "".join(words).split() == TEXT.split()


@needs_pipecat
@pytest.mark.parametrize("service", ["openai", "elevenlabs"])
def test_pipecat(base, service):
    from pipecat.frames.frames import EndFrame, TTSAudioRawFrame, TTSSpeakFrame, TTSTextFrame
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.pipeline.worker import PipelineParams, PipelineWorker
    from pipecat.processors.frame_processor import FrameProcessor
    from pipecat.workers.runner import WorkerRunner

    frames = []

    class Listener(FrameProcessor):
        async def process_frame(self, frame, direction):
            await super().process_frame(frame, direction)
            frames.append(frame)
            await self.push_frame(frame, direction)

    async def run():
        if service == "openai":
            from pipecat.services.openai.tts import OpenAITTSService

            tts = OpenAITTSService(base_url=f"{base}/v1", api_key="x", sample_rate=24000)
        else:
            from pipecat.services.elevenlabs.tts import ElevenLabsTTSService

            url = base.replace("http", "ws", 1)
            settings = ElevenLabsTTSService.Settings(voice="tiny")
            tts = ElevenLabsTTSService(url=url, api_key="x", sample_rate=24000, settings=settings)
        worker = PipelineWorker(Pipeline([tts, Listener()]), params=PipelineParams(audio_out_sample_rate=24000))
        await worker.queue_frames([TTSSpeakFrame(TEXT), EndFrame()])
        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(worker)
        await runner.run()

    asyncio.run(asyncio.wait_for(run(), 60))
    sound = b"".join(frame.audio for frame in frames if isinstance(frame, TTSAudioRawFrame))
    assert len(sound) / 48000 > 0.5
    if service == "elevenlabs":
        said = " ".join(frame.text.strip() for frame in frames if isinstance(frame, TTSTextFrame))
        assert said.split() == TEXT.split()

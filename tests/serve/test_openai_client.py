"""OpenAI's own client, unmodified, against the server."""

import asyncio
import io

import openai
import pytest
import soundfile

KEY = "any-key-at-all"


@pytest.fixture
def sdk(base):
    with openai.OpenAI(base_url=f"{base}/v1", api_key=KEY, max_retries=0) as found:
        yield found


def test_speech_to_a_file(sdk, tmp_path):
    path = tmp_path / "hello.mp3"
    with sdk.audio.speech.with_streaming_response.create(model="tts-1", voice="alloy", input="Hello there.") as answer:
        answer.stream_to_file(path)
    assert soundfile.info(path).samplerate == 24000


@pytest.mark.parametrize("voice", ["alloy", "ash", "ballad", "coral", "echo", "fable", "onyx", "nova", "sage", "shimmer", "verse",
                                   "marin", "cedar"])  # fmt: skip
def test_every_voice_of_openai(sdk, voice):
    answer = sdk.audio.speech.create(
        model="gpt-4o-mini-tts", voice=voice, input="Hi.", response_format="wav", speed=1.25
    )
    assert soundfile.info(io.BytesIO(answer.content)).frames > 100


def test_streaming_bytes(sdk):
    options = {"model": "tts-1", "voice": "nova", "input": "Hello there. How are you?", "response_format": "pcm"}
    with sdk.audio.speech.with_streaming_response.create(**options, extra_body={"seed": 5}) as answer:
        assert answer.headers["x-seed"] == "5"
        streamed = b"".join(answer.iter_bytes(4096))
    assert streamed == sdk.audio.speech.create(**options, extra_body={"seed": 5}).content


def test_server_sent_events(sdk):
    options = {
        "model": "gpt-4o-mini-tts",
        "voice": "nova",
        "input": "Hello.",
        "stream_format": "sse",
        "instructions": "Softly.",
    }
    with sdk.audio.speech.with_streaming_response.create(**options) as answer:
        lines = [line for line in answer.iter_lines() if line]
    assert lines[-1] == "data: [DONE]" and all(line.startswith("data: ") for line in lines)


def test_asynchronous_client(base):
    async def speak():
        async with openai.AsyncOpenAI(base_url=f"{base}/v1", api_key=KEY) as client:
            calls = [
                client.audio.speech.create(model="tts-1", voice="echo", input="Hello.", response_format="pcm",
                                           extra_body={"seed": seed})
                for seed in (1, 2, 1)
            ]  # fmt: skip
            return [answer.content for answer in await asyncio.gather(*calls)]

    first, other, again = asyncio.run(speak())
    assert first == again != other


def test_models(sdk):
    names = [model.id for model in sdk.models.list()]
    assert "tts-1" in names and sdk.models.retrieve(names[0]).id == names[0]


def test_errors_are_the_clients_own(sdk):
    with pytest.raises(openai.BadRequestError, match="There is no voice 'nobody'") as caught:
        sdk.audio.speech.create(model="tts-1", voice="nobody", input="Hello.")
    assert caught.value.param == "voice" and caught.value.code == "voice_not_found"
    with pytest.raises(openai.NotFoundError):
        sdk.models.retrieve("none")

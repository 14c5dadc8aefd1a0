"""Home Assistant's protocol, by the client of its package."""

import asyncio
import threading
from contextlib import contextmanager

import hypothesis.strategies as st
import pytest
import uvicorn
from hypothesis import given, settings

pytest.importorskip("wyoming")
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.info import Describe, Info
from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStop, SynthesizeStopped, SynthesizeVoice

from mamtra.errors import MamTraError
from mamtra.serve.app import create_app
from mamtra.serve.keys import make_key
from mamtra.serve.settings import ServeSettings
from mamtra.tts import load
from mamtra.voices.library import VoiceLibrary
from tests.browser import wait_for
from tests.serve.conftest import ToldTTS


@contextmanager
def listening(tts):
    """The port of a server."""
    app = create_app(tts, ServeSettings(wyoming_port=0), warm_up=False)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_for(lambda: server.started)
    try:
        yield app.state.wyoming_port
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def port(model_directory):
    with listening(load(model_directory)) as found:
        yield found


async def events(client, last):
    """Events up to one of a kind."""
    found = []
    while not (found and last.is_type(found[-1].type)):
        event = await asyncio.wait_for(client.read_event(), 20)
        assert event is not None
        found.append(event)
    return found


def sound(found):
    return b"".join(AudioChunk.from_event(event).audio for event in found if AudioChunk.is_type(event.type))


def talk(port, conversation):
    async def run():
        async with AsyncTcpClient("127.0.0.1", port) as client:
            return await conversation(client)

    return asyncio.run(run())


def test_what_home_assistant_asks_first(port):
    async def describe(client):
        await client.write_event(Describe().event())
        return Info.from_event((await events(client, Info))[-1])

    (program,) = talk(port, describe).tts
    assert program.installed and program.supports_synthesize_streaming
    assert [(voice.name, voice.installed, voice.languages) for voice in program.voices] == [("tiny", True, ["en"])]


def test_a_whole_text(port):
    async def say(client):
        found = []
        for voice in (None, SynthesizeVoice(name="tiny")):  # several on a connection
            await client.write_event(Synthesize(text="Hello there.", voice=voice).event())
            found.append(await events(client, AudioStop))
        return found

    for found in talk(port, say):
        start = AudioStart.from_event(found[0])
        assert (start.rate, start.width, start.channels) == (24000, 2, 1) and len(sound(found)) > 1000


def test_text_that_arrives_is_spoken_before_its_end(port):
    async def say(client):
        await client.write_event(SynthesizeStart(voice=SynthesizeVoice(name="alloy")).event())
        for text in ("Hello th", "ere. How"):
            await client.write_event(SynthesizeChunk(text=text).event())
        first = await events(client, AudioChunk)
        await client.write_event(SynthesizeChunk(text=" are you?").event())
        await client.write_event(Synthesize(text="Hello there. How are you?").event())  # for servers that do not stream
        await client.write_event(SynthesizeStop().event())
        rest = await events(client, SynthesizeStopped)
        return first + rest

    found = talk(port, say)
    assert sum(AudioStart.is_type(event.type) for event in found) == 1
    assert [AudioStop.is_type(event.type) for event in found].index(True) == len(found) - 2


@pytest.mark.parametrize("text", ["", "  ", "a" * 10_001])
def test_a_text_that_cannot_be_spoken(port, text):
    async def say(client):
        await client.write_event(Synthesize(text=text).event())
        problem = Error.from_event((await events(client, Error))[-1])
        await client.write_event(Synthesize(text="Hello.").event())
        return problem, await events(client, AudioStop)

    problem, found = talk(port, say)
    assert problem.text.endswith(".") and sound(found)


def test_an_unknown_voice_and_then_a_known_one(port):
    async def say(client):
        await client.write_event(Synthesize(text="Hello.", voice=SynthesizeVoice(name="../x")).event())
        problem = Error.from_event((await events(client, Error))[-1])
        await client.write_event(Synthesize(text="Hello.").event())
        return problem, await events(client, AudioStop)

    problem, found = talk(port, say)
    assert "no voice" in problem.text and sound(found)


@pytest.mark.parametrize(
    "content",
    [b"\n", b"rubbish\n", b"[]\n", b'{"type": 3}\n', b'{"type": "synthesize"}\n', b"\xff" * 100_000,
     b'{"type": "synthesize", "data_length": 9}\n{', b"[" * 50_000 + b"\n"],
)  # fmt: skip
def test_what_is_no_event_ends_that_connection_alone(port, content, caplog):
    async def say():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(content)
        writer.write_eof()
        await asyncio.wait_for(reader.read(), 20)
        writer.close()

    asyncio.run(say())
    test_a_whole_text(port)
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("length", ["data_length", "payload_length"])
def test_more_bytes_than_a_request_may_have_are_not_read(port, length):
    async def say():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b'{"type": "synthesize", "%s": 1099511627776}\n{' % length.encode())
        assert await asyncio.wait_for(reader.read(), 20) == b""
        writer.close()

    asyncio.run(say())


EVENTS = st.one_of(
    st.sampled_from([SynthesizeStart(), SynthesizeStart(voice=SynthesizeVoice(name="nobody")), SynthesizeStop(), Describe(),
                     AudioStop()]),
    st.sampled_from(["", "one ", "two. ", "three"]).flatmap(
        lambda text: st.sampled_from([SynthesizeChunk(text=text), Synthesize(text=text)])
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def told_port(model_directory, tmp_path_factory):
    with listening(ToldTTS(VoiceLibrary(model_directory, tmp_path_factory.mktemp("home")))) as found:
        yield found


@settings(max_examples=25, deadline=None)
@given(given_events=st.lists(EVENTS, max_size=10))
def test_any_order_of_events_leaves_a_connection_that_speaks(told_port, given_events):
    """The last text is longer than all before it together, which tells when it has been said."""

    async def say(client):
        for event in [*given_events, SynthesizeStop(), Synthesize(text="word " * 20)]:
            await client.write_event(event.event())
        while len(sound(await events(client, AudioStop))) < 20 * 4800:
            pass

    talk(told_port, say)


def test_it_is_not_offered_to_others_by_mistake():
    key = make_key("0123456789abcdef")
    with pytest.raises(MamTraError, match="Wyoming knows no keys"):
        ServeSettings(host="0.0.0.0", keys=(key,), wyoming_port=10200).check_reach()
    ServeSettings(host="0.0.0.0", open_to_all=True, wyoming_port=10200).check_reach()

"""Many at once: the queue, who comes next, who left, who is slow, and the end."""

import concurrent.futures
import socket
import threading
import time

import httpx2
import pytest

from mamtra.errors import MamTraError
from mamtra.serve.gate import Gate, Playback
from mamtra.serve.keys import make_key
from mamtra.voices.library import VoiceLibrary
from tests.browser import wait_for
from tests.serve.conftest import ToldTTS, figure, running


class Held:
    """A step that waits until it is let go, and knows who waits."""

    def __init__(self):
        self.go, self.lock, self.waiting = threading.Event(), threading.Lock(), []

    def __call__(self, n, text):
        with self.lock:
            self.waiting.append(text)
        assert self.go.wait(20)


def speak(client, text="one two", **fields):
    return client.post("/v1/audio/speech", json={"input": text, "response_format": "pcm", **fields})


def request(body):
    head = "POST /v1/audio/speech HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json"
    return f"{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def test_beyond_the_queue_is_told_to_come_back_and_the_rest_is_right(told):
    held = Held()
    tts, client = told(held, streams=1, waiting=2, hops_at_once=4)
    with concurrent.futures.ThreadPoolExecutor(30) as threads:
        found = [threads.submit(speak, client)]
        wait_for(lambda: held.waiting)
        found += [threads.submit(speak, client) for _ in range(29)]
        wait_for(lambda: sum(each.done() for each in found) == 27)
        held.go.set()
        answers = [each.result() for each in found]
    good = [answer for answer in answers if answer.status_code == 200]
    busy = [answer for answer in answers if answer.status_code == 503]
    assert len(good) == 3 and len(busy) == 27
    assert {len(answer.content) for answer in good} == {9600}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in busy)
    assert busy[0].json()["error"]["code"] == "overloaded"
    assert speak(client).status_code == 200 and len(tts.closed) == 4
    shown = client.get("/metrics").text
    assert "mamtra_guarded_draws 3.0" in shown
    assert 'mamtra_refused_total{reason="overloaded"} 27.0' in shown and "mamtra_streams_running 0.0" in shown


def test_waiting_has_an_end(told):
    held = Held()
    _, client = told(held, streams=1, first_audio_seconds=0.3)
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        answers = [each.result() for each in [threads.submit(speak, client) for _ in range(2)]]
        held.go.set()
    assert [answer.status_code for answer in answers] == [503, 503]
    wait_for(lambda: speak(client).status_code == 200)


def test_a_listener_who_leaves_has_the_speech_cancelled(told):
    held = Held()
    tts, client = told(held, streams=1)
    for body in (b'{"input": "one two three"}', b'{"input": "one two three", "stream_format": "sse"}'):
        held.go.clear()
        before = len(tts.closed)
        with socket.create_connection((client.base_url.host, client.base_url.port)) as connection:
            seen = len(held.waiting)
            connection.sendall(request(body))
            wait_for(lambda seen=seen: len(held.waiting) > seen)
        time.sleep(0.2)  # the server hears that the connection is closed
        held.go.set()
        wait_for(lambda before=before: len(tts.closed) > before)
        assert len(held.waiting) == seen + 1  # of three chunks one was made
    assert speak(client).status_code == 200
    assert 'mamtra_stops_total{reason="cancelled"} 2.0' in client.get("/metrics").text


def test_one_who_leaves_the_queue_takes_no_slot(told):
    held = Held()
    _, client = told(held, streams=1, waiting=1)
    with concurrent.futures.ThreadPoolExecutor(3) as threads:
        first = threads.submit(speak, client)
        wait_for(lambda: held.waiting)
        with pytest.raises(httpx2.ReadTimeout):
            httpx2.post(f"{client.base_url}/v1/audio/speech", json={"input": "impatient"}, timeout=0.3)
        wait_for(lambda: "mamtra_streams_waiting 0.0" in client.get("/metrics").text)
        second = threads.submit(speak, client)
        held.go.set()
        assert first.result().status_code == second.result().status_code == 200
    assert "impatient" not in held.waiting


def test_texts_are_admitted_by_the_memory_that_they_need(told):
    held = Held()
    _, client = told(held, streams=4, waiting=2, hops_at_once=4, most_memory=25 * 2**20)
    long = "one two three four five six seven eight nine"  # 17 MiB: 8 for a slow listener, one for each word
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        found = [threads.submit(speak, client, "one two") for _ in range(2)]  # 10 MiB each
        wait_for(lambda: len(held.waiting) == 2)
        assert figure(client, "mamtra_memory_reserved_bytes") == 20 * 2**20
        found.append(threads.submit(speak, client, long))
        wait_for(lambda: figure(client, "mamtra_streams_waiting") == 1)
        found.append(threads.submit(speak, client, "one two"))
        wait_for(lambda: figure(client, "mamtra_streams_waiting") == 2)
        refused = speak(client, "one two three")
        assert figure(client, "mamtra_streams_running") == 2  # nobody overtakes the long text
        held.go.set()
        assert [len(each.result().content) // 4800 for each in found] == [2, 2, 9, 2]
    assert refused.status_code == 503
    assert refused.json()["error"]["message"] == (
        "Too many requests are waiting, and 2 texts fit into the 0.0262 GB for speech at a time; try again later."
    )
    wait_for(lambda: figure(client, "mamtra_memory_reserved_bytes") == 0)


def test_one_text_is_spoken_however_little_memory_there_is(told):
    _, client = told(streams=4, most_memory=1)
    assert speak(client).status_code == 200


def test_a_key_has_its_share(told):
    held = Held()
    secret = "0123456789abcdef"
    _, client = told(held, streams=4, keys=(make_key(secret, "a", 1), make_key(secret[::-1], "b")))
    a, b = {"xi-api-key": secret}, {"xi-api-key": secret[::-1]}
    ask = {"url": "/v1/audio/speech", "json": {"input": "one"}}
    with concurrent.futures.ThreadPoolExecutor(3) as threads:
        first = threads.submit(client.post, headers=a, **ask)
        wait_for(lambda: held.waiting)
        refused = client.post(headers=a, **ask)
        other = threads.submit(client.post, headers=b, **ask)
        held.go.set()
        assert (first.result().status_code, refused.status_code, other.result().status_code) == (200, 429, 200)
    assert client.post(headers=a, **ask).status_code == 200


def test_a_reader_who_takes_nothing_is_cut_off_and_holds_nobody_back(told):
    """Far more audio than sockets and buffers hold; meanwhile others are served."""
    tts, client = told(streams=2, stall_seconds=0.5, most_characters=100_000)
    text = "word " * 15_000
    body = f'{{"input": "{text}", "response_format": "pcm", "sample_rate": 48000}}'.encode()
    with socket.create_connection((client.base_url.host, client.base_url.port)) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(request(body))
        assert all(speak(client).status_code == 200 for _ in range(3))
        wait_for(lambda: text in tts.closed)
    assert speak(client).status_code == 200


def test_what_is_being_spoken_ends_before_the_server_does(model_directory, tmp_path):
    held = Held()
    tts = ToldTTS(VoiceLibrary(model_directory, tmp_path), held)
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        with running(tts) as address:
            found = threads.submit(httpx2.post, f"{address}/v1/audio/speech", json={"input": "one two"}, timeout=20)
            wait_for(lambda: held.waiting)
            threading.Timer(0.3, held.go.set).start()
        assert found.result().status_code == 200


def test_not_ready_before_it_is_warm(model_directory, tmp_path):
    held = Held()
    with running(ToldTTS(VoiceLibrary(model_directory, tmp_path), held), warm_up=True) as address:
        wait_for(lambda: held.waiting)
        assert httpx2.get(f"{address}/health/live").status_code == 200
        assert httpx2.get(f"{address}/health/ready").status_code == 503
        held.go.set()
        wait_for(lambda: httpx2.get(f"{address}/health/ready").status_code == 200)


def test_a_damaged_voice_keeps_no_other_from_speaking(model_directory, tmp_path):
    tts = ToldTTS(VoiceLibrary(model_directory, tmp_path))
    (tmp_path / "voices").mkdir()
    (tmp_path / "voices" / "bad.safetensors").write_bytes(b"damaged")
    speak_well = tts.stream

    def stream(text, voice=None, **options):
        if voice == "bad":
            raise MamTraError("It is damaged.")
        return speak_well(text, voice, **options)

    tts.stream = stream
    with running(tts, warm_up=True) as address:
        wait_for(lambda: httpx2.get(f"{address}/health/ready").status_code == 200)
        voices = {each["id"]: each for each in httpx2.get(f"{address}/v1/audio/voices").json()["voices"]}
        assert voices["bad"]["damaged"] and "damaged" not in voices["tiny"]
        answer = httpx2.post(f"{address}/v1/audio/speech", json={"input": "one", "voice": "bad"})
        assert answer.status_code == 400


def playback(now, seconds=None, at=0.0):
    clock = lambda: now[0]  # noqa: E731
    found = Playback(clock)
    if seconds is not None:
        now[0], after = at, now[0]
        found.made(seconds)
        now[0] = after
    return found


def test_who_comes_next():
    now = [10.0]
    comfortable = playback(now, 5.0, at=9.0)
    scarce = playback(now, 1.5, at=9.0)
    gone = playback(now, 0.5, at=9.0)
    fresh = playback(now)
    now[0] = 10.1
    later = playback(now)
    assert sorted([later, comfortable, fresh, scarce, gone], key=lambda each: each.urgency) == [
        gone, scarce, fresh, later, comfortable,
    ]  # fmt: skip


def test_gaps_are_counted():
    now = [0.0]
    found = Playback(lambda: now[0])
    for moment, seconds in ((1.0, 1.0), (1.5, 1.0), (2.9, 0.5), (4.0, 1.0), (4.5, 0.0)):
        now[0] = moment
        found.made(seconds)
    assert found.underruns == 1 and found.first_audio == 1.0 and found.seconds == 3.5 and found.took == 4.0


def test_waiting_for_text_is_no_gap():
    now = [0.0]
    found = Playback(lambda: now[0])
    found.waited(2.0)
    for moment, waited in ((3.0, 5.0), (8.5, 0.0), (9.8, 0.0)):
        now[0] = moment
        found.made(1.0)
        found.waited(waited)
    assert found.first_audio == 1.0 and found.underruns == 0


def test_the_gate_lets_the_most_urgent_through_first():
    gate, order = Gate(1), []
    now = [10.0]
    waiting = {"much": playback(now, 9.0, at=9.0), "none": playback(now), "little": playback(now, 1.2, at=9.0)}

    def go(name):
        with gate.turn(waiting[name]):
            order.append(name)

    with gate.turn(playback(now)):
        threads = [threading.Thread(target=go, args=(name,)) for name in waiting]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(gate._waiting) == 3)
        with gate.aside(playback([9.0])):  # it comes back before the one without audio that came later
            wait_for(lambda: order == ["little"] or len(order) > 1)
    for thread in threads:
        thread.join()
    assert order[0] == "little" and order[-1] == "much"

"""The load tool, against a server that does what a test tells it."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mamtra.bench.serve import bench_serve, summary
from mamtra.bench.serve_client import Heard, Target, _play, listen
from mamtra.bench.serve_load import texts
from mamtra.cli import main
from mamtra.errors import MamTraError


@pytest.fixture
def server():
    """Speaks 0.2 s of silence in two parts, unless the text says otherwise."""

    asked = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((self.path, self.headers["Authorization"], body))
            if self.server.busy:
                answer = (
                    b'{"error": {"message": "Too much to do.", "type": "server_error", "param": null, "code": null}}'
                )
                self.send_response(503)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
                return
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for count in (4800, 4800):
                self.wfile.write(f"{count:x}\r\n".encode() + b"\0" * count + b"\r\n")
            if not self.server.breaks:
                self.wfile.write(b"0\r\n\r\n")
            else:
                self.close_connection = True

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        found.busy = found.breaks = False
        found.asked, found.url = asked, f"http://127.0.0.1:{found.server_port}/v1"
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.shutdown()


def test_what_one_listener_hears(server):
    heard = listen(Target(server.url, {"voice": "alloy"}, key="secret"), "Hello.")
    assert heard.good and heard.seconds == pytest.approx(0.2) and 0 < heard.first_audio <= heard.took
    path, key, body = server.asked[-1]
    assert (path, key) == ("/v1/audio/speech", "Bearer secret")
    assert body == {"voice": "alloy", "input": "Hello.", "response_format": "pcm"}


def test_what_goes_wrong_is_noted(server):
    target = Target(server.url, {})
    server.breaks = True
    assert listen(target, "Hello.").error.startswith("IncompleteRead")
    server.busy = True
    assert listen(target, "Hello.") == Heard(503, error="Too much to do.", took=pytest.approx(0, abs=20))
    assert not listen(Target("http://127.0.0.1:9/v1", {}), "Hello.").good
    with pytest.raises(MamTraError, match="not an address"):
        Target("127.0.0.1:8000", {})


def test_gaps_of_one_who_plays_from_the_first_sample_on():
    assert _play([], 100) == (None, 0, 0.0, 0.0)
    assert _play([(1.0, 100), (1.9, 100), (2.9, 50)], 100) == (1.0, 0, 0.0, 2.5)
    first, gaps, gap_seconds, seconds = _play([(1.0, 100), (2.5, 100), (4.0, 100)], 100)
    assert (first, gaps, seconds) == (1.0, 2, 3.0) and gap_seconds == pytest.approx(1.0)


def test_texts_are_those_of_the_seed():
    one, same, other = (texts(seed) for seed in (1, 1, 2))
    found = [next(one) for _ in range(50)]
    assert found == [next(same) for _ in range(50)] != [next(other) for _ in range(50)]
    assert len(min(found, key=len)) < 80 < 200 < len(max(found, key=len))


def test_figures():
    good = [Heard(200, n / 100, 2.0, 1.0, n % 2, 0.1 * (n % 2)) for n in range(1, 101)]
    found = summary([*good, Heard(503, error="busy"), Heard(0, error="gone")], wall=50.0)
    assert found["errors"] == {"503": 1, "connection": 1} and found["requests"] == 102
    assert found["first_audio"]["p50"] == pytest.approx(0.505) and found["first_audio"]["p95"] == pytest.approx(0.9505)
    assert found["real_time_factor"]["p50"] == 0.5 and found["audio_per_second"] == 4.0
    assert found["with_gaps"] == 50 and found["gap_seconds"] == pytest.approx(5.0)
    assert summary([Heard(503, error="busy")], 1.0)["first_audio"] is None


def test_the_command_writes_rows_and_a_page(server, tmp_path, capsys):
    words = ["bench", "serve", server.url, "-o", str(tmp_path), "--seconds", "1", "--name", "the stub"]
    began = time.monotonic()
    assert main([*words, "--listeners", "2", "--clients", "1", "--rate", "20"]) == 0
    assert time.monotonic() - began < 30
    result = json.loads((tmp_path / "serve.json").read_text())
    assert [(row["mode"], row["amount"]) for row in result["rows"]] == [("listeners", 2), ("clients", 1), ("rate", 20)]
    listeners, clients, rate = result["rows"]
    assert 2 <= listeners["requests"] < clients["requests"]  # who plays asks less often
    assert 5 < rate["requests"] < 45
    page = (tmp_path / "serve.md").read_text()
    assert "the stub" in page and "| 2 listeners |" in page and "| 20 requests/s |" in page


def test_a_busy_server_is_not_asked_without_a_pause(server, tmp_path):
    target = Target(server.url, {})
    bench_serve(tmp_path, target, [("clients", 1)], seconds=1)
    server.busy = True
    with pytest.raises(MamTraError, match=r"does not speak: Too much to do"):
        bench_serve(tmp_path, target, [("clients", 1)], seconds=1)


@pytest.mark.parametrize("words", ["", "--listeners x", "--clients 1.5", "--rate 0", "--listeners -1"])
def test_a_load_that_cannot_be_read(words, capsys):
    assert main(["bench", "serve", "http://127.0.0.1:9/v1", *words.split()]) == 2
    assert capsys.readouterr().err.count("\n") == 1

"""Downloads from a stand-in for the Hugging Face hub on this machine."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mamtra.checkpoints import pull as module
from mamtra.checkpoints.find import find_model
from mamtra.errors import MamTraError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "config.json": b'{"format": 1}',
    "llm.pt": bytes(range(256)) * 2000,
    "CosyVoice-BlankEN/config.json": b"{}",
    "CosyVoice-BlankEN/model.safetensors": b"copied in llm.pt",
    "speech_tokenizer_v2.onnx": b"onnx",
    "speech_tokenizer_v2.batch.onnx": b"for batches",
    "llm.rl.pt": b"another language model",
    "asset/sample.wav": b"RIFF",
    "runtime.engine": b"no",
}


def large(data):
    return {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 1}


def stored(data):
    """`large`, as a listing of the repository names it."""
    about = large(data)
    return {"oid": about["sha256"], "size": about["size"], "pointerSize": 1}


class Hub(BaseHTTPRequestHandler):
    """Serves FILES of one repository as the hub does; `cut` bodies break off half way the first time."""

    cut: set[str]
    damaged: set[str]
    seen: list[tuple[str, str, str | None]]

    def log_message(self, *_):
        pass

    def answer(self, code, body=b"", **headers):
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        return body

    def do_HEAD(self):
        self.serve(head=True)

    def do_GET(self):
        self.serve(head=False)

    def serve(self, head):
        kind = type(self)
        kind.seen.append((self.command, self.path, self.headers.get("Range")))
        if self.path.startswith("/api/models/someone/voice/tree/"):
            files = [
                {"type": "file", "path": n, "size": len(d), "oid": "0", "lfs": stored(d)} for n, d in FILES.items()
            ]
            self.wfile.write(self.answer(200, json.dumps(files).encode(), Content_Type="application/json"))
            return
        if self.path.startswith("/api/models/someone/voice"):
            files = [{"rfilename": n, "size": len(d), "blobId": "0", "lfs": large(d)} for n, d in FILES.items()]
            body = json.dumps({"id": "someone/voice", "sha": COMMIT, "siblings": files}).encode()
            self.wfile.write(self.answer(200, body, Content_Type="application/json"))
            return
        name = self.path.partition(f"/someone/voice/resolve/{COMMIT}/")[2]
        if name not in FILES:
            self.answer(404, X_Error_Code="EntryNotFound")
            return
        data = bytes(len(FILES[name])) if name in kind.damaged else FILES[name]
        about = {
            "ETag": f'"{hashlib.sha256(FILES[name]).hexdigest()}"',
            "X_Repo_Commit": COMMIT,
            "Accept_Ranges": "bytes",
        }
        if head:
            self.send_response(200)
            for key, value in {"Content-Length": str(len(data)), **about}.items():
                self.send_header(key.replace("_", "-"), value)
            self.end_headers()
            return
        wanted = self.headers.get("Range")
        start = int(wanted.removeprefix("bytes=").partition("-")[0]) if wanted else 0
        rest = data[start:]
        span = {"Content_Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
        body = self.answer(206 if start else 200, rest, **about, **span)
        if name in kind.cut:
            kind.cut.discard(name)
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.connection.close()
            return
        self.wfile.write(body)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    kind = type("Here", (Hub,), {"cut": set(), "damaged": set(), "seen": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    import huggingface_hub

    address = f"http://127.0.0.1:{server.server_port}"
    real = huggingface_hub.HfApi
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: real(endpoint=address, token=False))
    download = huggingface_hub.hf_hub_download
    monkeypatch.setattr(
        huggingface_hub, "hf_hub_download", lambda *a, **k: download(*a, endpoint=address, token=False, **k)
    )
    yield kind
    server.shutdown()


def test_only_files_that_are_read_arrive(hub, tmp_path):
    told = []
    out = module.pull("someone/voice", tmp_path / "m", tell=lambda *line: told.append(line))
    assert (out / "llm.pt").read_bytes() == FILES["llm.pt"] and (out / "config.json").exists()
    read = ["config.json", "llm.pt", "CosyVoice-BlankEN/config.json", "speech_tokenizer_v2.onnx"]
    assert told == [(name, number, 4) for number, name in enumerate(read, 1)]
    assert {
        path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file() and ".cache" not in path.parts
    } == {*read}
    hub.seen.clear()
    module.pull("someone/voice", tmp_path / "m")
    assert not [line for line in hub.seen if line[0] == "GET" and "resolve" in line[1]], (
        "whole files are not fetched again"
    )


def test_the_other_language_model_of_cosyvoice_3(hub, tmp_path, monkeypatch):
    out = module.pull("someone/voice", tmp_path / "rl", reinforced=True)
    assert (out / "llm.rl.pt").read_bytes() == FILES["llm.rl.pt"] and not (out / "llm.pt").exists()
    module.pull("someone/voice", tmp_path / "m")
    with pytest.raises(MamTraError, match=r"has llm\.pt, which would be used .*; name another directory"):
        module.pull("someone/voice", tmp_path / "m", reinforced=True)
    monkeypatch.delitem(FILES, "llm.rl.pt")
    with pytest.raises(MamTraError, match=r"someone/voice has no llm\.rl\.pt"):
        module.pull("someone/voice", tmp_path / "other", reinforced=True)


def test_a_download_that_breaks_off_goes_on(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)  # what has come in full chunks is kept
    hub.cut.add("llm.pt")
    for _ in range(2):  # where the library does not go on by itself, the next run does
        try:
            module.pull("someone/voice", tmp_path / "m")
            break
        except MamTraError as error:
            assert "run the command again to go on" in str(error)
    assert (tmp_path / "m" / "llm.pt").read_bytes() == FILES["llm.pt"]
    ranges = [r for _, path, r in hub.seen if path.endswith("llm.pt") and r]
    assert ranges and all(not r.startswith("bytes=0-") for r in ranges)


def test_damage_is_noticed_and_removed(hub, tmp_path):
    hub.damaged.add("llm.pt")
    with pytest.raises(MamTraError, match=r"llm\.pt of someone/voice arrived damaged"):
        module.pull("someone/voice", tmp_path / "m")
    assert not (tmp_path / "m" / "llm.pt").exists()


def test_a_model_that_is_not_there(hub, tmp_path):
    with pytest.raises(MamTraError, match="no model 'someone/else' at v2 on the Hugging Face hub"):
        module.pull("someone/else", tmp_path / "m", "v2")
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    "name", ["../config.json", "/etc/config.json", "voices/../../a.safetensors", "..\\\\config.json"]
)
def test_names_outside_the_directory_are_refused(tmp_path, hub, monkeypatch, name):
    monkeypatch.setitem(FILES, name, b"{}")
    with pytest.raises(MamTraError, match="lies outside"):
        module.pull("someone/voice", tmp_path / "out")
    assert not list(tmp_path.rglob("*.json")) and not list(tmp_path.rglob("*.safetensors"))


@pytest.fixture
def cached(hub, tmp_path, monkeypatch):
    """The hub behind the cache of its library."""
    import huggingface_hub

    endpoint = huggingface_hub.HfApi().endpoint
    fetch = huggingface_hub.snapshot_download
    given = {"endpoint": endpoint, "cache_dir": tmp_path / "cache", "token": False}
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *a, **k: fetch(*a, **given, **k))
    return hub


def test_a_name_of_the_hub_is_a_checked_directory(cached, tmp_path):
    folder = find_model("someone/voice")
    assert (folder / "llm.pt").read_bytes() == FILES["llm.pt"] and not (folder / "runtime.engine").exists()


def test_damage_in_the_cache_is_noticed_and_removed(cached, tmp_path):
    cached.damaged.add("llm.pt")
    for _ in range(2):
        with pytest.raises(MamTraError, match=r"llm\.pt of someone/voice arrived damaged"):
            find_model("someone/voice")
    cached.damaged.clear()
    assert (find_model("someone/voice") / "llm.pt").read_bytes() == FILES["llm.pt"]


def test_hashes_of_small_files_are_those_of_git(tmp_path):
    (tmp_path / "a").write_bytes(b"hello\n")
    assert not module._differs(tmp_path / "a", "ce013625030ba8dba906f756967f9e9ca394464a")
    assert module._differs(tmp_path / "a", "ce013625030ba8dba906f756967f9e9ca394464b")


@pytest.mark.parametrize("ask", [lambda name, out: module.pull(name, out), lambda name, _: find_model(name)])
def test_without_the_library_of_the_hub_it_is_said(ask, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MamTraError, match=r"needs huggingface-hub; pip install 'mamtra\[hub\]'"):
        ask("somebody/a-model", tmp_path / "model")

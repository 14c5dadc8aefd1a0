"""The page in headless Chromium: audio starts while it is made, words are marked, a recording becomes a voice."""

import base64
import itertools
import json
import re
import shutil
import subprocess
import threading
import urllib.request
from contextlib import contextmanager

import pytest
from websockets.sync.client import connect

from tests.factories import reference
from tests.serve.conftest import wait_for

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
browser_needed = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")


class Tab:
    """A page, told what to do by Chromium's debugging protocol."""

    def __init__(self, socket):
        self._socket, self._numbers = socket, itertools.count(1)
        self.problems = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(timeout=30))
            if message.get("method") == "Runtime.exceptionThrown":
                self.problems.append(message["params"]["exceptionDetails"])
            if message.get("method") == "Network.requestWillBeSent":
                self.problems += [url for url in [message["params"]["request"]["url"]] if not self._own(url)]
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]

    def _own(self, url):
        return url.startswith(("http://127.0.0.1", "data:", "blob:", "about:"))

    def __getitem__(self, expression):
        found = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def show_as(self, width, height, scheme, phone):
        """Size of the window in pixels, and light or dark."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Emulation.setScrollbarsHidden", hidden=True)

    def picture(self, path):
        shot = self.call("Page.captureScreenshot", format="webp", quality=80)
        path.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def browser(folder, *options):
    command = [
        CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", f"--user-data-dir={folder}",
        "--autoplay-policy=no-user-gesture-required", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
        "--window-size=900,1000", *options, "about:blank",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        note = folder / "DevToolsActivePort"
        wait_for(lambda: note.exists() and note.read_text().strip(), 60)
        port = note.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
            (page,) = [each for each in json.load(answer) if each["type"] == "page"]
        with connect(page["webSocketDebuggerUrl"], max_size=None) as socket:
            yield Tab(socket)
    finally:
        process.terminate()
        process.wait(20)


def show(tab, address):
    tab.call("Page.navigate", url=address)
    wait_for(lambda: tab["document.readyState === 'complete' && document.querySelectorAll('#voice option').length > 0"])


@browser_needed
def test_a_text_is_heard_while_it_is_made_and_a_recording_becomes_a_voice(told, tmp_path):
    heard = threading.Event()
    tts, client = told(lambda n, text: n < 3 or heard.wait(30))
    sample = reference(tmp_path / "me.wav", 12.0, 48000)
    with browser(tmp_path / "profile", f"--use-file-for-fake-audio-capture={sample}") as tab:
        show(tab, str(client.base_url))
        assert tab["[...$('layers').children].map(each => each.className).join()"] == "attention,mamba2,mamba2,mamba2"
        assert tab["$('plan').textContent"] == "1 attention layers3 Mamba-2 layers"
        assert tab["$('about').textContent"] == "told" and tab["$('key').offsetParent"] is None
        tab[
            "$('text').value = 'one two three four five. six seven.'; $('seed').value = '7'; $('speak').requestSubmit(); 1"
        ]
        wait_for(lambda: tab["player.sources.length === 3"])
        wait_for(lambda: tab["player.context.state === 'running' && player.at > .05"])
        assert tab["stopping !== null"] and tab["$('stop').disabled"] is False and tab["$('used').textContent"] == "7"
        heard.set()
        wait_for(lambda: tab["stopping === null"])
        assert tab["$('words').textContent"] == "one two three four five. six seven."
        assert tab["player.samples"] == pytest.approx(24000 * 0.95, abs=2)
        wait_for(lambda: tab["!$('save').hasAttribute('aria-disabled')"])
        data = tab["fetch($('save').href).catch(() => 0).then(() => player.joined().length)"]
        assert data == tab["player.samples"]
        tab["from(0); 1"]
        wait_for(lambda: tab["document.querySelectorAll('#words .now').length === 1"])
        tab["$('record').click(); 1"]
        wait_for(lambda: tab["recorder !== null"])
        wait_for(lambda: tab["player.context.currentTime > 0"])
        threading.Event().wait(2.5)
        tab["recorder(); $('name').value = 'me'; $('agreed').checked = true; $('add').requestSubmit(); 1"]
        wait_for(lambda: tab["$('added').textContent.startsWith('The voice me is ready')"])
        assert tab["$('voice').value"] == "me" and tts.cloned_seconds > 1.5
        tab["window.confirm = () => true; $('remove').click(); 1"]
        wait_for(lambda: tab["$('added').textContent === 'The voice me is gone.'"])
        tab["$('text').value = ' '; $('speak').requestSubmit(); 1"]
        wait_for(lambda: tab["$('message').textContent === 'There is no text to speak.'"])
        assert not tab.problems


def test_the_page_loads_nothing_from_elsewhere(client):
    answer = client.get("/")
    assert answer.status_code == 200 and "default-src 'none'" in answer.headers["content-security-policy"]
    assert "{{" not in answer.text
    assert (
        re.findall(r"""(?:src|href)=["']?(?!data:)\w+:|@import|https?://(?!www\.w3\.org/2000/svg)""", answer.text) == []
    )
    for name in ("text", "voice", "speed", "seed", "key", "name", "file", "said", "agreed"):
        assert re.search(rf'<label[^>]*>(?:(?!</label>).)*id="{name}"', answer.text, re.S), name

"""Headless Chromium, told what to do by its debugging protocol."""

import base64
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from contextlib import contextmanager

import pytest
from websockets.sync.client import connect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
browser_needed = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")


def wait_for(condition, seconds=20):
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.01)


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


def _pages(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
        return [each for each in json.load(answer) if each["type"] == "page"]


@contextmanager
def browser(folder, *options, gpu=False):
    """A tab of a new browser that keeps its files in a folder; without `gpu` it takes no notice of a GPU."""
    command = [
        CHROMIUM, "--headless=new", "--no-sandbox", "--remote-debugging-port=0", f"--user-data-dir={folder}",
        "--autoplay-policy=no-user-gesture-required", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
        "--window-size=900,1000", *([] if gpu else ["--disable-gpu"]), *options, "about:blank",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        note = folder / "DevToolsActivePort"
        wait_for(lambda: note.exists() and note.read_text().strip(), 60)
        port = note.read_text().split()[0]
        wait_for(lambda: _pages(port))  # a browser with a window opens it a little later
        with connect(_pages(port)[0]["webSocketDebuggerUrl"], max_size=None) as socket:
            yield Tab(socket)
    finally:
        process.terminate()
        process.wait(20)

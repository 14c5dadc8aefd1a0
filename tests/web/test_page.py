"""The page in headless Chromium: it speaks, offline too, and says in a sentence why where it cannot."""

import http.server
import json
import shutil
import threading
from contextlib import contextmanager
from functools import partial

import pytest

from tests.browser import browser, browser_needed, wait_for

pytestmark = browser_needed
_SHOWN = "document.getElementById('message').textContent"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextmanager
def served(folder):
    """A plain web server; gives its address and a function that ends it."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def end():
        server.shutdown()
        server.server_close()

    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/", end
    finally:
        end()


def ready(tab):
    return tab[
        "document.getElementById('go')?.disabled === false || document.querySelector('#message.bad')?.textContent"
    ]


def show(tab, address, seconds=120):
    """Open the page; what it says where it cannot speak."""
    tab.call("Page.navigate", url=address)
    wait_for(lambda: ready(tab), seconds)
    return tab["document.querySelector('#message.bad')?.textContent"]


def test_the_page_speaks_and_goes_on_without_a_network(site, tmp_path):
    with browser(tmp_path) as tab, served(site) as (address, end):
        assert show(tab, address) is None
        assert tab["crossOriginIsolated"] is True
        assert tab["[...document.getElementById('voice').options].map(each => each.value).join()"].count(",") == 11
        speak = "const put = (id, value) => { document.getElementById(id).value = value; };"
        speak += (
            "put('text', 'Good day. And you?'); put('seed', '3'); document.getElementById('speak').requestSubmit();"
        )
        tab[speak + "1"]
        wait_for(lambda: tab["page.player.samples > 0 && !page.busy"], 120)
        assert tab["page.player.context.state"] == "running" and tab[_SHOWN] == ""
        assert tab["document.getElementById('words').textContent"] == "Good day. And you?"
        seconds, loudest = tab["page.player.seconds"], tab["Math.max(...page.player.joined().map(Math.abs))"]
        assert 1 < seconds < 6 and 0.05 < loudest <= 1
        size = tab["fetch(document.getElementById('save').href).then(each => each.blob()).then(each => each.size)"]
        assert size == 44 + 2 * tab["page.player.samples"]
        end()
        assert show(tab, address) is None
        tab[speak + "1"]
        wait_for(lambda: tab["page.player.samples > 0 && !page.busy"], 120)
        assert tab["page.player.seconds"] == seconds and not tab.problems


def broken(site, folder, name):
    """A copy in which a byte of a file is another one."""
    shutil.copytree(site, folder)
    data = bytearray((folder / name).read_bytes())
    data[-1] ^= 1
    (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("WebAssembly.validate = () => false", "This browser has no WebAssembly SIMD"),
        ("delete globalThis.WebAssembly", "This browser has no WebAssembly SIMD"),
    ],
)
def test_a_browser_that_cannot_compute(site, tmp_path, script, sentence):
    with browser(tmp_path) as tab, served(site) as (address, _):
        tab.call("Page.addScriptToEvaluateOnNewDocument", source=script)
        assert show(tab, address).startswith(sentence)


def test_weights_that_do_not_belong_to_the_graphs(site, tmp_path):
    """And a folder that is written again: what was kept of the earlier one is forgotten."""
    folder = broken(site, tmp_path / "site", "model/vocoder.safetensors")
    with browser(tmp_path / "profile") as tab, served(folder) as (address, _):
        told = "model/vocoder.safetensors does not belong to this page; write the folder again with mamtra web."
        assert show(tab, address) == told
        about = json.loads((folder / "site.json").read_text())
        (kept,) = tab["caches.keys()"]
        assert kept.endswith(about["digest"])
        (folder / "site.json").write_text(json.dumps(about | {"digest": "another"}))
        tab.call("Page.navigate", url=address)
        wait_for(lambda: tab["caches.keys()"] == [kept.replace(about["digest"], "another")], 60)


def test_a_browser_without_room_whose_graphics_card_fails(site, tmp_path):
    """The voice is ready all the same."""
    card = "Object.defineProperty(navigator, 'gpu', { value: { requestAdapter: async () => ({ info: {} }) } })"
    with browser(tmp_path) as tab, served(site) as (address, _):
        tab.call("Page.addScriptToEvaluateOnNewDocument", source=card)
        tab.call("Storage.overrideQuotaForOrigin", origin=address, quotaSize=10_000)
        assert show(tab, address) is None
        assert tab["document.getElementById('note').textContent"].startswith(
            "This browser has no room to keep the voice"
        )


def test_the_page_asks_only_for_what_is_in_the_folder(site):
    policy = json.dumps((site / "index.html").read_text())
    assert "default-src 'none'" in policy and "http" not in policy.replace("http-equiv", "").replace(
        "http://www.w3.org/2000/svg", ""
    )

"""The page in headless Chromium: audio starts while it is made, words are marked, a recording becomes a voice."""

import re
import threading

import pytest

from tests.browser import browser, browser_needed, wait_for
from tests.factories import reference


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

"""Pictures of the page with the embedded voice, for docs/serving.md: python -m tests.serve.pictures docs/showcase"""

import sys
import tempfile
from pathlib import Path

from mamtra.serve.settings import ServeSettings
from mamtra.tts import load
from tests.browser import browser, wait_for
from tests.serve.conftest import running
from tests.serve.test_page import show

TEXT = "Hello! This voice runs on your own machine, and you hear it while it is being made. Every word is marked as it is said."
VIEWS = {"light": (900, 664, "light"), "dark": (900, 664, "dark"), "phone": (390, 844, "light")}


def main(folder: Path) -> None:
    """Take one picture for each view, in the middle of what is played."""
    with (
        tempfile.TemporaryDirectory() as profile,
        running(load(runtime="onnx"), ServeSettings(), warm_up=True) as address,
        browser(Path(profile)) as tab,
    ):
        for name, (width, height, scheme) in VIEWS.items():
            tab.show_as(width, height, scheme, name == "phone")
            show(tab, address)
            tab[f"$('voice').value = 'nora'; $('text').value = {TEXT!r}; $('seed').value = '7'; 1"]
            tab["$('speak').requestSubmit(); 1"]
            wait_for(lambda: tab["player.samples > 0 && stopping === null"], 120)
            tab["from(2.5); 1"]
            wait_for(lambda: tab["document.querySelectorAll('#words .now').length === 1"])
            tab.picture(folder / f"page-{name}.webp")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

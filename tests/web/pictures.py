"""Pictures of the page for docs/web.md: python -m tests.web.pictures docs/showcase [FOLDER with the npm packages]"""

import sys
import tempfile
from pathlib import Path

from mamtra.web.site import write_site
from tests.browser import browser, wait_for
from tests.web.test_page import served, show

TEXT = "Hello! This voice runs in your own browser, and you hear it while it is being made. No server hears what you write."
VIEWS = {"web": (900, 612, "light"), "web-phone": (390, 795, "dark")}


def main(folder: Path, packages: Path | None) -> None:
    """Take one picture for each view, in the middle of what is played again."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as work:
        site = write_site(Path(work) / "page", packages=packages)
        with browser(Path(work)) as tab, served(site) as (address, _):
            for name, (width, height, scheme) in VIEWS.items():
                tab.show_as(width, height, scheme, name != "web")
                assert show(tab, address, 300) is None
                put = f"put('voice', 'nora'); put('text', {TEXT!r}); put('seed', 7);"
                tab[f"const put = (id, value) => {{ document.getElementById(id).value = value; }}; {put} 1"]
                for _ in range(2):  # the first text is for warming up
                    tab["document.getElementById('speak').requestSubmit(); 1"]
                    wait_for(lambda: tab["page.player.samples > 0 && !page.busy"], 300)
                tab["page.player.from(2.5).then(() => { document.getElementById('stop').disabled = false; }); 1"]
                wait_for(lambda: tab["page.player.at > 2.9 && document.querySelectorAll('#words .now').length === 1"])
                tab.picture(folder / f"{name}.webp")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)

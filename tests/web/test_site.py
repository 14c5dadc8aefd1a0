"""The folder that `mamtra web` writes, and what it says where it cannot."""

import hashlib
import io
import json
import shutil
import tarfile
import zipfile

import pytest

from mamtra.cli import main
from mamtra.errors import MamTraError
from mamtra.runtime.files import hash_files
from mamtra.runtime.pages import SHARED
from mamtra.web import packages as npm
from mamtra.web import site as sites
from mamtra.web.packages import Package
from mamtra.web.site import PAGE, write_site
from tests.factories import tiny_model


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A package of one file in place of the large ones, as `npm pack` gives it."""
    content = b"export const one = 1;"
    package = Package("one", "1.2.3", {"dist/one.mjs": hashlib.sha256(content).hexdigest()})
    for module in (npm, sites):
        monkeypatch.setattr(module, "PACKAGES", (package,))
    folder = tmp_path / "npm"
    folder.mkdir()
    with tarfile.open(folder / "one-1.2.3.tgz", "w:gz") as packed:
        entry = tarfile.TarInfo("package/dist/one.mjs")
        entry.size = len(content)
        packed.addfile(entry, io.BytesIO(content))
    return folder


def test_the_folder(small, tmp_path, capsys):
    assert main(["web", str(tmp_path / "page"), "--packages", str(small), "--json"]) == 0
    made = tmp_path / "page"
    size = sum(path.stat().st_size for path in made.rglob("*") if path.is_file())
    assert json.loads(capsys.readouterr().out) == {"directory": str(made), "bytes": size}
    assert (made / "one" / "one.mjs").read_bytes() == b"export const one = 1;"
    shared = [SHARED / name for name in ("page.css", "player.js", "wave.js")]
    for path in [*PAGE.glob("*.js"), *shared]:
        assert (made / path.name).read_bytes() == path.read_bytes()
    page = (made / "index.html").read_text()
    assert "{{" not in page and page.count('id="speed"') == page.count("<title>") == 1
    about = json.loads((made / "site.json").read_text())
    assert about["model"] == "mini-fast" and about["default"] == "clara" and len(about["voices"]) == 12
    assert about["graphs"]["lm"]["weights"] == "model.safetensors" and "query" in about["graphs"]["lm"]["outputs"]
    for name, file in about["files"].items():
        assert file == {"bytes": (made / name).stat().st_size, "sha256": hash_files(made / name)}
    assert not {path.name for path in (made / "model").iterdir()} & {
        "tokenizer.onnx",
        "speech_tokenizer.safetensors",
        "onnx.json",
    }
    with zipfile.ZipFile(made / "text.zip") as packed:
        assert "mamtra/text/english/g2p.py" in packed.namelist()
    again = write_site(tmp_path / "again", packages=small)
    assert (again / "site.json").read_bytes() == (made / "site.json").read_bytes()


def test_packages_in_node_modules(small, tmp_path):
    shutil.unpack_archive(small / "one-1.2.3.tgz", tmp_path / "unpacked")
    (tmp_path / "app" / "node_modules").mkdir(parents=True)
    (tmp_path / "unpacked" / "package").rename(tmp_path / "app" / "node_modules" / "one")
    for place, folder in enumerate((tmp_path / "app", tmp_path / "app" / "node_modules")):
        assert (write_site(tmp_path / str(place), packages=folder) / "one" / "one.mjs").is_file()


def test_a_package_that_is_missing_or_another_one(small, tmp_path):
    target, how = tmp_path / "page", r"run `npm pack one@1\.2\.3`"
    with pytest.raises(MamTraError, match=f"has no one; .*{how}"):
        write_site(target, packages=tmp_path)
    (small / "one-1.2.3.tgz").write_bytes(b"nothing")
    with pytest.raises(MamTraError, match=f"one in .* lacks dist/one.mjs; .*{how}"):
        write_site(target, packages=small)
    (small / "one-1.2.3.tgz").unlink()
    (small / "one" / "dist").mkdir(parents=True)
    (small / "one" / "dist" / "one.mjs").write_text("export const one = 2;")
    with pytest.raises(MamTraError, match=r"is not version 1\.2\.3: dist/one\.mjs differs; "):
        write_site(target, packages=small)
    assert not target.exists()


@pytest.mark.parametrize(
    ("script", "problem"),
    [(None, "npm is not installed"), ("echo no network >&2; exit 1", r"npm could not fetch .* \(no network\)")],
)
def test_npm_that_is_missing_or_fails(small, tmp_path, monkeypatch, script, problem):
    folder = tmp_path / "programs"
    folder.mkdir()
    if script:
        (folder / "npm").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/bin" if script else str(folder))
    with pytest.raises(MamTraError, match=f"{problem}.*--packages"):
        write_site(tmp_path / "page")


def test_npm_that_fetches(small, tmp_path, monkeypatch):
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "npm").write_text(f'#!/bin/sh\ncp {small}/one-1.2.3.tgz "$6" && test "$7" = one@1.2.3\n')
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    assert (write_site(tmp_path / "page") / "one" / "one.mjs").is_file()


def test_a_folder_that_is_in_use(small, tmp_path):
    (tmp_path / "page").mkdir()
    write_site(tmp_path / "page", packages=small)
    with pytest.raises(MamTraError, match="is not an empty folder; name another one"):
        write_site(tmp_path / "page", packages=small)
    with pytest.raises(MamTraError, match="is not an empty folder"):
        write_site(small / "one-1.2.3.tgz", packages=small)


def test_a_model_of_which_no_page_can_be_made(small, tmp_path, refused):
    model = tiny_model(tmp_path / "tiny")
    config = json.loads((model / "config.json").read_text())
    config["lm"]["mamba_form"] = "mamba1"
    (model / "config.json").write_text(json.dumps(config))
    told = refused(["web", str(tmp_path / "page"), "--model", str(model), "--packages", str(small)])
    assert "ONNX Runtime has no Mamba layers" in told and told.rstrip().endswith("no page can be made of the model.")
    assert "There is no model" in refused(
        ["web", str(tmp_path / "page"), "--model", "nobody", "--packages", str(small)]
    )
    assert not (tmp_path / "page").exists()

"""With what a result was made, and how it becomes a file and a page."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from mamtra.runtime import results
from mamtra.runtime.results import circumstances, footnote, markdown_table, shown_command, write_result


def test_commands_show_no_paths_of_the_machine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inside = f"mini={tmp_path / 'models' / 'mini'}"
    words = ["python", "run.py", "--model", inside, "--whisper", "/opt/scorers/whisper-base", "two words"]
    assert shown_command(words) == 'python run.py --model mini=models/mini --whisper whisper-base "two words"'


def test_tables():
    assert markdown_table(("a", "b"), [("x|y", 1)]) == "| a | b |\n| --- | ---: |\n| x/y | 1 |"


def test_a_result_is_rendered_from_its_file(tmp_path):
    result = {**circumstances("mamtra bench", 2), "figure": 1 / 3}
    page = write_result(tmp_path / "new" / "x.json", result, lambda found: f"{found['figure']}\n{footnote(found)}\n")
    assert json.loads((tmp_path / "new" / "x.json").read_text())["figure"] == 0.33333333
    text = page.read_text()
    assert page.name == "x.md" and text.startswith("0.33333333\nMade by `mamtra bench`\nat ")
    assert " 2 threads used);" in text and "threads" not in footnote(circumstances("c"))


def test_a_result_of_other_weights_of_the_embedded_voice_says_so():
    now = circumstances("c")
    assert "Since then" not in footnote(now) and {len(digest) for digest in now["mini"].values()} == {12}
    then = now | {"mini": now["mini"] | {"vocoder": "0123", "speech_tokenizer": "4567"}}
    assert footnote(then).endswith("Since then the embedded voice has got another speech tokenizer, vocoder.")


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_commit_is_that_of_the_package_and_of_nothing_around_it(tmp_path, monkeypatch):
    def git(*words):
        identity = ("-c", "user.name=n", "-c", "user.email=e@example.org")
        return subprocess.run(
            ["git", "-C", str(tmp_path), *identity, *words], check=True, capture_output=True, text=True
        ).stdout.strip()

    package = tmp_path / "src" / "mamtra"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.setattr(results, "_PACKAGE", package)
    assert results.commit() == ""
    git("init", "-q")
    assert results.commit() == ""
    git("add", ".")
    git("commit", "-q", "-m", "first")
    assert results.commit() == git("rev-parse", "HEAD")
    Path(package / "more.py").touch()
    assert results.commit() == git("rev-parse", "HEAD") + " + changes"

import pytest

from tests.factories import tiny_model


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A model directory with random weights, as a string."""
    return str(tiny_model(tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Each test runs in an empty folder with an empty home."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAMTRA_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MAMTRA_DEBUG", raising=False)

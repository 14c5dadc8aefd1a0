import pytest

from mamtra.synthesis.open_model import open_model
from tests.factories import tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model of tiny networks, for the tests of a file."""
    return open_model(tiny_model(tmp_path_factory.mktemp("models") / "tiny"))

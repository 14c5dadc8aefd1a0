"""The folder that `mamtra web` writes, made once."""

import os
from pathlib import Path

import pytest

from mamtra.errors import MamTraError
from mamtra.web.packages import found_packages
from mamtra.web.site import write_site


@pytest.fixture(scope="session")
def packages():
    """The npm packages: in the folder that MAMTRA_NPM names, else fetched by npm, which keeps them; skipped without a network."""
    named = os.environ.get("MAMTRA_NPM")
    try:
        with found_packages(Path(named) if named else None) as folder:
            yield folder
    except MamTraError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def site(packages, tmp_path_factory):
    return write_site(tmp_path_factory.mktemp("site") / "page", packages=packages)

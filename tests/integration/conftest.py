"""Fixtures of the tests that need a store and Label Studio."""

import pytest

from tests.backend_process import served as served
from tests.checkpoints import save_taught_nllb
from tests.store_fixtures import each_store as each_store
from tests.store_fixtures import each_url as each_url
from tests.store_fixtures import sqlite_url as sqlite_url
from tests.studio_fixtures import annotator as annotator
from tests.studio_fixtures import api as api
from tests.studio_fixtures import backend_address as backend_address
from tests.studio_fixtures import database_url as database_url
from tests.studio_fixtures import examples as examples
from tests.studio_fixtures import store as store
from tests.studio_fixtures import studio_settings as studio_settings


@pytest.fixture(scope="session")
def taught_nllb(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a tiny NLLB checkpoint that knows :data:`tests.checkpoints.MARKED_PAIRS` by heart."""
    return str(save_taught_nllb(tmp_path_factory.mktemp("taught") / "nllb"))

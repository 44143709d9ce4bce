"""The loop as a team runs it: PostgreSQL, and a personal access token instead of a legacy one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.integration import test_studio_loop as loop
from xner_label.settings.table import Settings

# The SDK calls what pydantic gives up when it exchanges a personal access token.
_EXCHANGES_A_TOKEN = pytest.mark.filterwarnings("ignore:The `parse_obj` method is deprecated")
pytestmark = [pytest.mark.studio, pytest.mark.postgres, _EXCHANGES_A_TOKEN]

connected = loop.connected
test_connecting = loop.test_connecting_twice_leaves_one_of_everything
test_pushing = loop.test_push_fills_the_queue_with_the_least_confident_once
test_corrections = loop.test_corrections_come_back_once
test_updates = loop.test_updates_and_deletions_are_followed


@pytest.fixture
def database_url(postgres_url: str) -> str:
    return postgres_url


@pytest.fixture
def studio_settings(database_url: str, studio_settings: Settings, access_token: str) -> Settings:
    return replace(studio_settings, database_url=database_url, studio_api_key=access_token)

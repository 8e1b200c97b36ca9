"""Every service: its migrations make what its models say, and its wiring fits the contracts."""

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from common.db.migrate import (
    alembic_config,
    downgrade,
    migrate,
    newest_revision,
    pending_revision,
)
from common.runtime import ServiceDefinition
from tests.support import schema
from tests.support.tally.service import TALLY

SERVICES = ("chat_router", "order_ops", "aftersales", "feedback")


@pytest.fixture(params=[*SERVICES, "tally"])
def definition(request: pytest.FixtureRequest) -> Iterator[ServiceDefinition]:
    if request.param == "tally":
        yield TALLY
        return
    found = importlib.import_module(f"{request.param}.app").SERVICE
    assert isinstance(found, ServiceDefinition)
    yield found


async def test_the_migrated_schema_is_what_the_models_say(
    definition: ServiceDefinition, tmp_path: Path, database_url: str
) -> None:
    async with schema.migrated(definition, tmp_path, database_url) as database:
        assert await schema.tables(database) == set(definition.metadata.tables)
        assert await schema.drift(database, definition) == []


async def test_a_difference_between_schema_and_models_is_seen(
    tmp_path: Path, database_url: str
) -> None:
    """The check above can fail."""
    async with schema.migrated(TALLY, tmp_path, database_url) as database:
        async with database.write() as conn:
            await conn.exec_driver_sql("ALTER TABLE tallies ADD COLUMN surplus integer")
            await conn.exec_driver_sql("CREATE INDEX ix_surplus ON tallies (surplus)")
        found = await schema.drift(database, TALLY)
        assert any("surplus" in one for one in found)
        assert any("remove_index" in one for one in found)


async def test_every_migration_can_be_taken_back_and_made_again(
    definition: ServiceDefinition, tmp_path: Path, database_url: str
) -> None:
    async with schema.migrated(definition, tmp_path, database_url) as database:
        assert await schema.down_and_up(database, definition) == set()
        assert await schema.drift(database, definition) == []


async def test_a_new_file_made_from_the_models_is_the_one_the_migrations_make(
    definition: ServiceDefinition, tmp_path_factory: pytest.TempPathFactory
) -> None:
    at_once, by_chain = (tmp_path_factory.mktemp(name) for name in ("at_once", "by_chain"))
    made = await schema.written(definition, at_once, from_models=True)
    assert made == await schema.written(definition, by_chain, from_models=False)
    assert any("alembic_version" in line and "INSERT" in line for line in made)


async def test_a_file_that_is_not_new_is_migrated(
    definition: ServiceDefinition, tmp_path: Path
) -> None:
    """With the models given too: from whatever revision it is at."""
    async with schema.migrated(definition, tmp_path, None) as database:
        await downgrade(database, definition.migrations, "base")
        assert await pending_revision(database, definition.migrations) is not None
        await migrate(database, definition.migrations, metadata=definition.metadata)
        assert await pending_revision(database, definition.migrations) is None
        assert await schema.drift(database, definition) == []


def test_the_newest_revision_is_known_without_loading_the_chain(
    definition: ServiceDefinition,
) -> None:
    chain = ScriptDirectory.from_config(alembic_config(definition.migrations))
    assert newest_revision(definition.migrations) == chain.get_current_head()


def test_a_service_reads_the_topics_of_what_it_handles_and_no_others(
    definition: ServiceDefinition,
) -> None:
    assert schema.unread_topics(definition) == set()
    assert schema.idle_topics(definition) == set()


@pytest.mark.parametrize("name", SERVICES)
def test_the_contracts_name_every_consumer(name: str) -> None:
    definition = importlib.import_module(f"{name}.app").SERVICE
    assert schema.unlisted_consumers(definition) == set()


def test_every_lookup_has_an_index_to_use(definition: ServiceDefinition) -> None:
    assert schema.unindexed_lookups(definition) == set()

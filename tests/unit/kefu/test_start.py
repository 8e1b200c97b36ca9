"""What a start does not pay for."""

import subprocess
import sys
from pathlib import Path

START = """
import asyncio, sys
from httpx import ASGITransport
from common.settings import load_settings
from kefu.dev.composition import Composition
from kefu.replay.http import Urls
from kefu.seed import DEMO_SHOP
from kefu.seed.apply import apply_seed
from kefu.tokens import Issuer

async def start(settings):
    settings.home.mkdir()
    issuer = Issuer(settings, DEMO_SHOP, create=True)
    composition = Composition(settings)
    await composition.migrate()
    async with composition.app.router.lifespan_context(composition.app):
        made = await apply_seed(Urls("http://kefu"), issuer, ASGITransport(composition.app))
    assert made

asyncio.run(start(load_settings(home=sys.argv[1], env="dev", bus="embedded")))
heavy = {'aiokafka', 'alembic', 'httpcore', 'jinja2', 'mako', 'numpy', 'scipy', 'stamina',
         'opentelemetry.sdk', 'opentelemetry.exporter'}
print(sorted(heavy & set(sys.modules)))
"""


def test_a_start_on_embedded_parts_loads_nothing_that_only_other_parts_need(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-c", START, str(tmp_path / "home")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.stdout.strip(), ended.returncode) == ("[]", 0), ended.stderr

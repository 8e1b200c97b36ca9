"""Runs the composition: lock, port, key, schemas, server, demo shop, and an orderly end."""

import sys

from httpx import ASGITransport

from common.settings import Settings
from kefu.cli.failures import UNAVAILABLE, CommandFailed
from kefu.dev.banner import banner
from kefu.dev.composition import Composition
from kefu.dev.lock import HomeLock
from kefu.listening import address_of, listen
from kefu.replay.http import Urls
from kefu.seed import DEMO_SHOP
from kefu.seed.apply import apply_seed
from kefu.serving import serve
from kefu.starting import loading
from kefu.tokens import Issuer


async def run(settings: Settings) -> None:
    """Serves until told to stop. `CommandFailed` when the folder or the port is taken."""
    lock = HomeLock(settings.home)
    lock.take(f"http://{settings.host}:{settings.port}")
    try:
        with listen(settings.host, settings.port) as bound:
            base_url = address_of(bound)
            lock.describe(base_url)
            issuer = Issuer(settings, DEMO_SHOP, create=True)
            with loading():
                composition = Composition(settings)
            await composition.migrate()

            async def ready() -> None:
                # Through the same API, but not through the port: a client of sockets would first
                # load its stack and every certificate authority there is, to talk to itself.
                await apply_seed(Urls(base_url), issuer, ASGITransport(composition.app))
                composition.seeded = True
                sys.stdout.write(banner(base_url, issuer) + "\n")
                sys.stdout.flush()

            if not await serve(composition.app, settings, bound, ready):
                raise CommandFailed("a service could not start; the log says why", UNAVAILABLE)
    finally:
        lock.release()

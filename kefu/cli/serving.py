"""`kefu dev` and `kefu serve`: processes that serve."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kefu.cli.failures import UNAVAILABLE, CommandFailed
from kefu.services import SERVICE_NAMES, build_service, require_service
from kefu.starting import loading

if TYPE_CHECKING:
    from common.settings import Settings

PortOption = Annotated[int | None, typer.Option("--port", min=0, max=65535, help="KEFU_PORT.")]
HomeOption = Annotated[Path | None, typer.Option("--home", help="KEFU_HOME.")]

# A terminal reads better than JSON lines, and wants to hear of trouble only.
DEV_LOGGING = {"log_format": "console", "log_level": "WARNING"}


def register(app: typer.Typer) -> None:
    """Adds these commands."""
    app.command("dev")(dev)
    app.command("serve")(serve)
    app.command("sandbox")(sandbox)


def dev(port: PortOption = None, home: HomeOption = None) -> None:
    """Run all four services on this machine: SQLite files, embedded bus, one port."""
    with loading():
        from common.settings import load_settings
        from kefu.dev.server import run
        from kefu.serving import run_async

    quiet = {
        name: value
        for name, value in DEV_LOGGING.items()
        if f"KEFU_{name.upper()}" not in os.environ
    }
    settings = load_settings(**quiet, **_given(port=port, home=home), env="dev", bus="embedded")
    if settings.database_url is not None:
        settings = settings.model_copy(update={"database_url": None})
    _set_up(settings, "dev")
    run_async(run(settings))


def serve(
    service: Annotated[str, typer.Argument(help=f"One of {', '.join(SERVICE_NAMES)}.")],
    port: PortOption = None,
) -> None:
    """Run one service; start as many as you like of each."""
    from common.settings import load_settings
    from kefu.serving import run_async

    name = require_service(service)
    settings = load_settings(**_given(port=port))
    _set_up(settings, name)
    run_async(_serve(name, settings))


async def _serve(name: str, settings: "Settings") -> None:
    from kefu.listening import listen
    from kefu.serving import serve as serve_app

    try:
        with loading():
            from common.web.serving import service_app

            app = service_app(build_service(name, settings))
    except ValueError as wrong:
        raise CommandFailed(str(wrong)) from wrong
    with listen(settings.host, settings.port) as bound:
        if not await serve_app(app, settings, bound):
            raise CommandFailed(f"{name} could not start; the log says why", UNAVAILABLE)


def sandbox() -> None:
    """Play the shop platform of demo shops: carry out commands and answer them."""
    from common.settings import load_settings
    from kefu.serving import run_async

    settings = load_settings()
    _set_up(settings, "sandbox")
    run_async(_play_platform(settings))


async def _play_platform(settings: "Settings") -> None:
    from common.bus import open_bus
    from kefu.sandbox import Sandbox
    from kefu.serving import until_stopped

    settings.home.mkdir(parents=True, exist_ok=True)
    bus = open_bus(settings, "sandbox")
    await bus.start()
    try:
        async with Sandbox(bus, settings.home / "sandbox.db").running():
            await until_stopped()
    finally:
        await bus.close()


def _set_up(settings: "Settings", name: str) -> None:
    from common.telemetry.instruments import setup_metrics
    from common.telemetry.logs import setup_logging
    from common.telemetry.traces import setup_tracing

    setup_logging(settings, name)
    setup_tracing(settings, name)
    setup_metrics()


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}

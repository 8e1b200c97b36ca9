"""How uvicorn is started: quick loop and parser, bounded frames, no log lines of its own."""

from typing import Any

from common.settings import Settings
from common.web.sockets import MAX_FRAME_BYTES


def server_options(settings: Settings) -> dict[str, Any]:
    """Keyword arguments for `uvicorn.Config`, beside the application."""
    return {
        "host": settings.host,
        "port": settings.port,
        "loop": "auto",
        "http": "auto",
        "ws": "websockets-sansio",
        "ws_max_size": MAX_FRAME_BYTES,
        "ws_ping_interval": 20.0,
        "ws_ping_timeout": 20.0,
        # Compression would hold some 300 KiB for each of thousands of sockets.
        "ws_per_message_deflate": False,
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": True,
        "forwarded_allow_ips": settings.forwarded_allow_ips,
        "timeout_keep_alive": 15,
        "timeout_graceful_shutdown": int(settings.shutdown_grace_seconds),
    }

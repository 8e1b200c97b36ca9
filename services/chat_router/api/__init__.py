"""The HTTP edge of chat_router: parse, authorise, call, answer."""

from . import (
    agents,
    buyers,
    conversations,
    groups,
    messages,
    metrics,
    queue,
    returns,
    settings,
    socket,
)

ROUTERS = (
    messages.router,
    conversations.router,
    agents.router,
    groups.router,
    buyers.router,
    queue.router,
    settings.router,
    metrics.router,
    returns.router,
    socket.router,
)

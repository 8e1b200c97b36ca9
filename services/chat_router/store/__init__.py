"""All SQL of chat_router: how state is bound to tables, what endpoints, router and metrics read."""

from .bindings import BINDINGS

__all__ = ["BINDINGS"]

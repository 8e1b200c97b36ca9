"""Schema history of chat_router."""

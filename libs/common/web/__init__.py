"""The HTTP and WebSocket edge: one application factory, and what every endpoint shares."""

"""Who calls, and what they may do: tokens in, principals out, roles on every route."""

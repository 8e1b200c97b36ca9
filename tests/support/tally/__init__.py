"""A small service for testing the runtime: it tallies reviews per product."""

"""What every service stands on: contracts, bus, runtime, outbox, timers, database, web."""

"""Faults on purpose: processes killed and paused, connections cut and slowed, under load."""

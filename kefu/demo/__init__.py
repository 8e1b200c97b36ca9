"""The demo day: one day of the demo shop, and the command that plays it."""

from pathlib import Path

DAY = Path(__file__).parent / "day.jsonl"

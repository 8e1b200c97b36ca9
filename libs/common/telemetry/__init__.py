"""Traces, metrics and logs: what a running process tells about itself."""

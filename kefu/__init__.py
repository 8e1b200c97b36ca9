"""The command line, the one-process run, the demo shop and the replay."""

"""Plays a file of dialogues and orders against a running system, as real clients would.

`script` reads the file, `plan` makes steps of it, `run` plays them through the clients, `journal`
remembers what was planned, acknowledged and delivered, `check` compares the two, `report` tells.
The check shares no code with the services: it knows only what clients were told.
"""

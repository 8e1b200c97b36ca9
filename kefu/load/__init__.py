"""Load that looks like a day: a pure generator of script lines, played by the replay's machinery.

The same seed gives the same day. What is written here decides who comes, when and what for;
how it is played and checked is kefu.replay's business.
"""

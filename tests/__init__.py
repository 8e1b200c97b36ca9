"""The test tree; a package so that `tests.parts` is the same thing from everywhere."""

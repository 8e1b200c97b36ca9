"""What every test may use; the fixtures themselves stand in tests/parts/fixtures.py."""

pytest_plugins = ("pytester", "tests.parts.fixtures", "tests.parts.forbid_skips")

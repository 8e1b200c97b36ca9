"""With `KEFU_TEST_FORBID_SKIPS=1` a session in which anything was skipped fails.

For the continuous check: a missing part must not look like a passing test.
"""

from __future__ import annotations

import os

import pytest
from _pytest.terminal import TerminalReporter


def _skipped(config: pytest.Config) -> int:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("KEFU_TEST_FORBID_SKIPS") != "1" or reporter is None:
        return 0
    return len(reporter.stats.get("skipped", []))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Turn a passed session with skips into a failed one."""
    if session.exitstatus == pytest.ExitCode.OK and _skipped(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    """Say why, beside the list of skips."""
    if skipped := _skipped(config):
        terminalreporter.write_line(
            f"{skipped} skipped, and KEFU_TEST_FORBID_SKIPS=1 allows none", red=True
        )

"""In the continuous check a skipped test is a failure; elsewhere it is not."""

from __future__ import annotations

import pytest

SKIPPING = """
import pytest

def test_passes():
    pass

@pytest.mark.skip(reason="no broker here")
def test_needs_a_broker():
    raise AssertionError
"""
OPTIONS = ("-p", "tests.parts.forbid_skips", "-ra")


@pytest.fixture(autouse=True)
def no_other_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def test_a_skip_fails_the_session_where_skips_are_forbidden(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEFU_TEST_FORBID_SKIPS", "1")
    pytester.makepyfile(SKIPPING)
    outcome = pytester.runpytest_subprocess(*OPTIONS)
    assert outcome.ret == pytest.ExitCode.TESTS_FAILED
    outcome.stdout.fnmatch_lines(["1 skipped, and KEFU_TEST_FORBID_SKIPS=1*", "*no broker here*"])


def test_a_skip_passes_where_skips_are_allowed(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KEFU_TEST_FORBID_SKIPS", raising=False)
    pytester.makepyfile(SKIPPING)
    assert pytester.runpytest_subprocess(*OPTIONS).ret == pytest.ExitCode.OK


def test_a_session_without_skips_passes_where_they_are_forbidden(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEFU_TEST_FORBID_SKIPS", "1")
    pytester.makepyfile("def test_passes(): pass")
    assert pytester.runpytest_subprocess(*OPTIONS).ret == pytest.ExitCode.OK


def test_a_module_skipped_as_a_whole_counts(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEFU_TEST_FORBID_SKIPS", "1")
    pytester.makepyfile(
        test_whole="import pytest; pytest.importorskip('no_such_library_at_all')",
        test_other="def test_passes(): pass",
    )
    assert pytester.runpytest_subprocess(*OPTIONS).ret == pytest.ExitCode.TESTS_FAILED

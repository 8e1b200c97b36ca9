"""Failures of commands: a sentence that says what to do, and an exit status."""

FINDINGS = 1
USAGE = 2
UNAVAILABLE = 3


class CommandFailed(Exception):
    """A command cannot go on. The message is for a person; `status` is the exit status."""

    def __init__(self, message: str, status: int = USAGE) -> None:
        super().__init__(message)
        self.status = status


def explain(error: Exception) -> tuple[str, int] | None:
    """Sentence and exit status of an error that a person can act on; None for a bug."""
    if isinstance(error, CommandFailed):
        return str(error), error.status
    return (
        _settings_wrong(error) or _replay_stopped(error) or _refused(error) or _unreachable(error)
    )


def _replay_stopped(error: Exception) -> tuple[str, int] | None:
    from kefu.replay.http import GaveUp, RefusedByApi
    from kefu.replay.journal import JournalError
    from kefu.replay.script import ScriptError

    if isinstance(error, ExceptionGroup):
        found = [explain(inner) for inner in error.exceptions]
        return None if None in found else found[0]
    if isinstance(error, ScriptError | JournalError):
        return str(error), USAGE
    if isinstance(error, GaveUp):
        return f"the system does not answer: {error}. The same command goes on later", UNAVAILABLE
    return (f"refused: {error}", USAGE) if isinstance(error, RefusedByApi) else None


def _settings_wrong(error: Exception) -> tuple[str, int] | None:
    from pydantic import ValidationError

    if not isinstance(error, ValidationError) or error.title != "Settings":
        return None
    wrong = [
        f"KEFU_{'_'.join(str(part) for part in problem['loc']).upper()}: {problem['msg']}"
        for problem in error.errors()
    ]
    return "settings: " + "; ".join(wrong), USAGE


def _refused(error: Exception) -> tuple[str, int] | None:
    from common.errors import KefuError

    if not isinstance(error, KefuError):
        return None
    status = UNAVAILABLE if error.status == 503 else USAGE
    return " ".join(part for part in (str(error), error.next_step) if part), status


def _unreachable(error: Exception) -> tuple[str, int] | None:
    if isinstance(error, ConnectionError | TimeoutError):
        return f"cannot connect: {str(error) or type(error).__name__}", UNAVAILABLE
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}", USAGE
    module = type(error).__module__.split(".")[0]
    if module in ("sqlalchemy", "asyncpg", "aiokafka"):
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return f"{module}: {reason}", UNAVAILABLE
    return None

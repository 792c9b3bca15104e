"""The two exceptions gnoise raises on purpose, and the exit codes they carry."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What a shell sees when a command ends."""

    OK = 0
    FINDINGS = 1
    USAGE = 2
    UNREADABLE = 3
    UNSAFE = 4
    OUT_OF_MEMORY = 5
    INTERNAL = 70
    INTERRUPTED = 130


class GnoiseError(Exception):
    """Base of every error raised by gnoise itself."""


class UserError(GnoiseError):
    """Something the caller can mend: the text says what was expected, what came, and what to type next.

    Args:
        message: one sentence or two, without a trailing period, ending with what to try.
        exit_code: the code the command line ends with; usage error by default.
    """

    def __init__(self, message: str, *, exit_code: ExitCode = ExitCode.USAGE) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def unreadable(message: str) -> UserError:
    """Make the error for a model, data or run file that cannot be read."""
    return UserError(message, exit_code=ExitCode.UNREADABLE)


def unsafe(message: str) -> UserError:
    """Make the error for content that would have to execute code to be loaded."""
    return UserError(message, exit_code=ExitCode.UNSAFE)

"""Failures as one line for people: what happened and what to do, without a traceback."""

import errno

LONGEST = 600  # characters
_FULL = ("No space left on device", "database or disk is full")  # as Delta and SQLite say it


def one_line(error: BaseException) -> str:
    """Return the innermost cause of `error` that says something, on one line, with a remedy where one is known."""
    if _disk_full(error):
        return "the disk is full; free some room and run the command again (what was published stays whole)"
    return shortened(str(_cause(error))) or type(error).__name__


def shortened(text: str) -> str:
    """Return a text on one line, a long one without its middle: a message ends with the remedy."""
    line, half = " ".join(text.split()), LONGEST // 2
    return line if len(line) <= LONGEST else f"{line[:half]} ... {line[-half:]}"


def _disk_full(error: BaseException) -> bool:
    return any(
        (isinstance(e, OSError) and e.errno == errno.ENOSPC) or any(words in str(e) for words in _FULL)
        for e in chain(error)
    )


def _cause(error: BaseException) -> BaseException:
    """Dagster wraps what a step raised: the wrapper says only which step it was."""
    cause = getattr(error, "user_exception", None) or error
    return cause if cause is error else _cause(cause)


def chain(error: BaseException | None) -> list[BaseException]:
    """Return an error and those behind it, the innermost last."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = getattr(error, "user_exception", None) or error.__cause__ or error.__context__
    return found

"""Older formats, brought up to the present one: always in a copy."""

import sqlite3
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

FORMAT = 5


def upgraded_copy(connection: sqlite3.Connection, version: int, target: str | Path = ":memory:") -> sqlite3.Connection:
    """Copy a database of an older format and upgrade the copy, one format at a time.

    Args:
        connection: open for reading.
        version: its format, at least 1.
        target: file of the copy; in memory without.

    Returns:
        A connection to the copy.
    """
    copy = sqlite3.connect(target, isolation_level=None, check_same_thread=False)
    connection.backup(copy)
    for step in range(version, FORMAT):
        copy.executescript(files("gnoise.runfile").joinpath(f"upgrade_{step}.sql").read_text(encoding="utf-8"))
    return copy


def upgrade(path: Path) -> None:
    """Bring a run file to the present format before something is written into it.

    The upgraded copy takes the file's place when it is complete; a file of the present format is left alone.

    Args:
        path: a run file that :func:`gnoise.runfile.open_run` opens.
    """
    with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == FORMAT:
            return
        nascent = path.with_name(f".{path.name}.new")
        nascent.unlink(missing_ok=True)
        upgraded_copy(connection, version, nascent).close()
    nascent.replace(path)

"""Opening the SQLite file, for writing and for reading, and refusing what is not a run."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from gnoise.errors import ExitCode, UserError, unreadable
from gnoise.runfile.upgrade import FORMAT, upgraded_copy

APPLICATION_ID = 0x676E6F69
_MAGIC = b"SQLite format 3\x00"


def create_database(
    path: Path, fill: Callable[[sqlite3.Connection], None], *, force: bool = False
) -> sqlite3.Connection:
    """Make a run file and return a connection that can write it.

    The file is made under another name and moved into place when ``fill`` is done, so that a reader
    never meets half a run, and a file that is replaced stays until the new one stands.

    Args:
        path: where to write.
        fill: writes what every run has from the start.
        force: replace a file that exists.

    Raises:
        UserError: the file exists and ``force`` is off, or its folder cannot be written.
    """
    check_output(path, force=force)
    nascent = path.with_name(f".{path.name}.new")
    try:
        nascent.unlink(missing_ok=True)
        with closing(sqlite3.connect(nascent, isolation_level=None)) as connection:
            schema = files("gnoise.runfile").joinpath("schema.sql").read_text(encoding="utf-8")
            connection.executescript(f"BEGIN;\n{schema}\nCOMMIT;")  # else every table waits for the disk
            with transaction(connection):
                fill(connection)
        for suffix in ("-wal", "-shm", "-journal"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        nascent.replace(path)
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")  # stays a rollback journal where the disk has no WAL
    except (OSError, sqlite3.Error) as error:
        raise _cannot_write(path, error) from error
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Write all of a ``with`` block or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def check_output(path: Path, *, force: bool = False) -> None:
    """Refuse an output that exists or cannot be written, before any work is done for it.

    Raises:
        UserError: says which, and what to type.
    """
    if path.is_dir():
        raise UserError(f"expected a file to write, got the folder {path}; try -o {path / 'run.gnoise'}")
    if path.exists() and not force:
        raise UserError(f"expected a new file, but {path} exists; try --force to replace it, or another -o")
    probe = path.with_name(f".{path.name}.probe")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise _cannot_write(path, error) from error


def open_database(path: Path) -> sqlite3.Connection:
    """Open a run file read-only; one of an older format is upgraded in a copy in memory.

    Raises:
        UserError: it is missing, is not a run file, or is of a newer format (exit code 3).
    """
    if not path.is_file():
        raise unreadable(
            f"expected a run file, but {path} is {'a folder' if path.is_dir() else 'not there'}; "
            f"try gnoise profile SOURCE -o {path}"
        )
    try:
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
    except OSError as error:
        raise unreadable(f"expected to read {path}, but {error.strerror}; try another path") from error
    if magic != _MAGIC:
        raise unreadable(f"expected a gnoise run file, but {path} is not one; try a file made by gnoise profile")
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, check_same_thread=False)
    with reading(path):
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        connection.close()
        raise unreadable(
            f"expected a gnoise run file, but {path} is some other SQLite database; try a file made by gnoise profile"
        )
    if version > FORMAT:
        connection.close()
        raise unreadable(
            f"expected a run file of format {FORMAT} or older, but {path} is format {version}; "
            "try pip install --upgrade gnoise"
        )
    if version == FORMAT:
        return connection
    with reading(path), closing(connection):
        return upgraded_copy(connection, version)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn SQLite's own complaints about a damaged file into the one clear error."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise unreadable(
                f"expected {path} to be free, but another process is writing it; try again when that has ended"
            ) from error
        if "readonly" in str(error) or "full" in str(error):
            raise _cannot_write(path, error) from error
        raise unreadable(
            f"expected a whole run file, but {path} is damaged ({error}); try another copy, or gnoise profile again"
        ) from error
    except sqlite3.DatabaseError as error:
        raise unreadable(
            f"expected a whole run file, but {path} is damaged ({error}); try another copy, or gnoise profile again"
        ) from error


def _cannot_write(path: Path, error: Exception) -> UserError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return UserError(f"expected to write {path}, but {reason}; try another folder with -o", exit_code=ExitCode.USAGE)

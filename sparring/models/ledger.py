"""What servers were asked, what they answered and what it cost: one SQLite file that any number of processes may share.

An answer is in the file before anybody sees it, so who was killed and asks again pays for nothing twice. Keys of requests are
digests: the file holds answers, sums and habits of servers, never a credential.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from pathlib import Path

from sparring.errors import SparringError

FILE = "calls.sqlite"
FORMAT = 1
_BUSY_S = 60.0
_TABLES = """
CREATE TABLE IF NOT EXISTS calls (key TEXT PRIMARY KEY, answer TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spent (
    account TEXT PRIMARY KEY, prompt_tokens INTEGER, completion_tokens INTEGER, usd REAL, requests INTEGER, retries INTEGER);
CREATE TABLE IF NOT EXISTS reserved (id INTEGER PRIMARY KEY, account TEXT, tokens INTEGER, usd REAL, expires REAL);
CREATE TABLE IF NOT EXISTS habits (account TEXT, habit TEXT, PRIMARY KEY (account, habit));
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What was spent on an account. ``requests``: answered ones; ``retries``: those that had to be repeated."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    requests: int = 0
    retries: int = 0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """What may be spent on an account; 0 is no limit."""

    tokens: int = 0
    usd: float = 0.0


class Ledger:
    """Answers by key and sums by account, in ``folder`` or, without one, in memory. Threads and processes may share a folder."""

    def __init__(self, folder: Path | str | None = None) -> None:
        self._path = Path(folder).expanduser() / FILE if folder is not None else None
        self._lock = threading.RLock()
        self._pid, self._db = os.getpid(), self._open()

    def find(self, key: str) -> str | None:
        """The answer kept under ``key``."""
        with self._using() as db:
            row = db.execute("SELECT answer FROM calls WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def keep(self, key: str, answer: str, account: str, cost: Usage) -> str:
        """Notes an answer and its cost at once. Who answered first under the same key is right: that answer is returned."""
        with self._using() as db:
            db.execute("INSERT OR IGNORE INTO calls VALUES (?, ?)", (key, answer))
            self._charge(db, account, cost)
            return db.execute("SELECT answer FROM calls WHERE key = ?", (key,)).fetchone()[0]

    def charge(self, account: str, cost: Usage) -> None:
        """Notes a cost without an answer: of a response that was of no use, of a retry."""
        with self._using() as db:
            self._charge(db, account, cost)

    def forget(self, keys: Iterable[str]) -> None:
        """Drops answers that turned out to be somebody else's; what they cost stays spent."""
        with self._using() as db:
            db.executemany("DELETE FROM calls WHERE key = ?", [(key,) for key in keys])

    def spent(self, account: str) -> Usage:
        with self._using() as db:
            row = db.execute("SELECT * FROM spent WHERE account = ?", (account,)).fetchone()
        if row is None:
            return Usage()
        return Usage(prompt_tokens=row[1], completion_tokens=row[2], usd=row[3], requests=row[4], retries=row[5])

    def reserve(self, account: str, budget: Budget, need: Budget, lifetime_s: float) -> int | None:
        """A hold on at most ``need`` of what is left, for ``release``; None while only other requests under way stand in the way.

        A hold of a process that died ends after ``lifetime_s``. Raises SparringError where what is spent leaves too little.
        """
        with self._using() as db:
            spent, now = self.spent(account), time.time()
            db.execute("DELETE FROM reserved WHERE expires < ?", (now,))
            held = db.execute(
                "SELECT COALESCE(SUM(tokens), 0), COALESCE(SUM(usd), 0) FROM reserved WHERE account = ?", (account,)
            )
            tokens, usd = held.fetchone()
            if _over(spent.tokens + need.tokens, budget.tokens):
                raise SparringError(
                    f"{account}: {spent.tokens} of {budget.tokens} tokens are spent and the next request may take {need.tokens}; "
                    "raise budget_tokens of this endpoint and run the same command again"
                )
            if _over(spent.usd + need.usd, budget.usd):
                raise SparringError(
                    f"{account}: {spent.usd:.4f} of {budget.usd} dollars are spent and the next request may take {need.usd:.4f}; "
                    "raise budget_usd of this endpoint and run the same command again"
                )
            if _over(spent.tokens + tokens + need.tokens, budget.tokens) or _over(spent.usd + usd + need.usd, budget.usd):
                return None
            row = db.execute(
                "INSERT INTO reserved (account, tokens, usd, expires) VALUES (?, ?, ?, ?)",
                (account, need.tokens, need.usd, now + lifetime_s),
            )
            return row.lastrowid

    def release(self, hold: int) -> None:
        with self._using() as db:
            db.execute("DELETE FROM reserved WHERE id = ?", (hold,))

    def habits(self, account: str) -> frozenset[str]:
        """What is known of a server: fields that it does not take."""
        with self._using() as db:
            return frozenset(row[0] for row in db.execute("SELECT habit FROM habits WHERE account = ?", (account,)))

    def learn(self, account: str, habit: str) -> None:
        with self._using() as db:
            db.execute("INSERT OR IGNORE INTO habits VALUES (?, ?)", (account, habit))

    @staticmethod
    def _charge(db: sqlite3.Connection, account: str, cost: Usage) -> None:
        db.execute("INSERT OR IGNORE INTO spent VALUES (?, 0, 0, 0, 0, 0)", (account,))
        db.execute(
            "UPDATE spent SET prompt_tokens = prompt_tokens + ?, completion_tokens = completion_tokens + ?, usd = usd + ?, "
            "requests = requests + ?, retries = retries + ? WHERE account = ?",
            (cost.prompt_tokens, cost.completion_tokens, cost.usd, cost.requests, cost.retries, account),
        )

    @contextlib.contextmanager
    def _using(self) -> Generator[sqlite3.Connection]:
        """The file within one transaction, which other threads and processes wait for."""
        with self._lock:
            if self._pid != os.getpid():  # a connection must not be carried over a fork
                self._pid, self._db = os.getpid(), self._open()
            if self._db.in_transaction:  # within another use of this thread
                yield self._db
                return
            try:
                self._db.execute("BEGIN IMMEDIATE")
                with self._db:  # commits, or rolls back after an exception
                    yield self._db
            except sqlite3.DatabaseError as error:
                raise SparringError(f"{self._path}: {error}; free the disk, or move the file away and begin anew") from error

    def _open(self) -> sqlite3.Connection:
        try:
            if self._path is not None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(self._path or ":memory:", timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")  # whole after a kill; a loss of power may take the last answers
            found = db.execute("PRAGMA user_version").fetchone()[0]
            if found not in (0, FORMAT):
                raise SparringError(f"{self._path} has format {found}, this sparring reads {FORMAT}; give another folder")
            db.executescript(_TABLES + f"PRAGMA user_version = {FORMAT};")
        except (sqlite3.DatabaseError, OSError) as error:
            raise SparringError(f"{self._path} cannot be opened as a ledger ({error}); give another folder") from error
        return db


def _over(value: float, limit: float) -> bool:
    return 0 < limit < value

-- From format 1 to format 2: verdicts.

CREATE TABLE verdict (
    id        INTEGER PRIMARY KEY,
    layer     TEXT REFERENCES layer (name),
    question  TEXT NOT NULL,
    answer    TEXT,
    runner_up TEXT NOT NULL,
    margin    REAL,
    p_value   REAL CHECK (p_value BETWEEN 0 AND 1),
    q_value   REAL CHECK (q_value BETWEEN 0 AND 1),
    n         INTEGER NOT NULL,
    status    TEXT NOT NULL,
    note      TEXT NOT NULL,
    CHECK (answer IS NOT NULL OR status <> 'ok')
) STRICT;

CREATE UNIQUE INDEX verdict_key ON verdict (coalesce(layer, ''), question);

PRAGMA user_version = 2;

-- From format 2 to format 3: evidence for remedies. The next `gnoise analyze` fills it.

CREATE TABLE evidence (
    id         INTEGER PRIMARY KEY,
    layer      TEXT REFERENCES layer (name),
    remedy     TEXT NOT NULL,
    setting    TEXT NOT NULL,
    params     TEXT NOT NULL CHECK (json_valid(params)),
    role       TEXT NOT NULL CHECK (role IN ('setting', 'remedy', 'best')),
    gain       REAL,
    low        REAL,
    high       REAL,
    bias_floor REAL,
    batch      REAL,
    batch_low  REAL,
    batch_high REAL,
    p_value    REAL CHECK (p_value BETWEEN 0 AND 1),
    q_value    REAL CHECK (q_value BETWEEN 0 AND 1),
    n          INTEGER NOT NULL,
    status     TEXT NOT NULL,
    CHECK (gain IS NOT NULL OR status <> 'ok'),
    CHECK (gain IS NULL OR abs(gain) < 9e999)
) STRICT;

CREATE UNIQUE INDEX evidence_key ON evidence (coalesce(layer, ''), role, remedy, setting);

ALTER TABLE recommendation RENAME TO recommendation_2;

CREATE TABLE recommendation (
    id           INTEGER PRIMARY KEY,
    scope        TEXT NOT NULL CHECK (scope IN ('layer', 'model')),
    layer        TEXT REFERENCES layer (name),
    remedy       TEXT NOT NULL,
    params       TEXT NOT NULL CHECK (json_valid(params)),
    status       TEXT NOT NULL,
    reason       TEXT NOT NULL,
    because      TEXT NOT NULL CHECK (json_valid(because)),
    severity     TEXT NOT NULL,
    gain_low     REAL,
    gain_high    REAL,
    gain         REAL,
    alternatives TEXT NOT NULL CHECK (json_valid(alternatives)),
    unless       TEXT NOT NULL
) STRICT;

INSERT INTO recommendation SELECT *, NULL, '[]', '' FROM recommendation_2;

DROP TABLE recommendation_2;

PRAGMA user_version = 3;

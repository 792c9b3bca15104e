-- From format 4 to format 5: tokens saved. The next `gnoise analyze` fills them.

ALTER TABLE evidence RENAME TO evidence_4;
ALTER TABLE recommendation RENAME TO recommendation_4;
DROP INDEX evidence_key;

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
    tokens_saved      REAL,
    tokens_saved_low  REAL,
    tokens_saved_high REAL,
    CHECK (gain IS NOT NULL OR status <> 'ok'),
    CHECK (gain IS NULL OR abs(gain) < 9e999)
) STRICT;

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
    unless       TEXT NOT NULL,
    tokens_saved      REAL,
    tokens_saved_low  REAL,
    tokens_saved_high REAL
) STRICT;

INSERT INTO evidence SELECT *, NULL, NULL, NULL FROM evidence_4;
INSERT INTO recommendation SELECT *, NULL, NULL, NULL FROM recommendation_4;

DROP TABLE evidence_4;
DROP TABLE recommendation_4;

CREATE UNIQUE INDEX evidence_key ON evidence (coalesce(layer, ''), role, remedy, setting);

PRAGMA user_version = 5;

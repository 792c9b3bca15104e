-- The gnoise run file, format 2. One SQLite database a run.
--
-- application_id is 'gnoi'; user_version is the format. A reader refuses a newer format.
-- Written in one transaction per block of draws, so that a kill at any moment leaves everything up
-- to the last block. `estimate`, `verdict` and `recommendation` can be made again from `array` at any time.
-- JSON columns hold no NaN and no infinity; arrays never hold a value that was not finite.

PRAGMA application_id = 0x676e6f69;
PRAGMA user_version = 2;

-- 'info': gnoise.records.RunInfo; 'state': collecting, interrupted or complete;
-- 'tokens': the text of each row of an embedding or head, [] without a tokenizer.
CREATE TABLE run (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL CHECK (json_valid(value))
) STRICT;

-- One parameter tensor; `id` counts from 1 in the order of named_parameters().
CREATE TABLE layer (
    id     INTEGER PRIMARY KEY,
    name   TEXT NOT NULL UNIQUE,
    kind   TEXT NOT NULL,
    shape  TEXT NOT NULL CHECK (json_valid(shape)),
    depth  INTEGER,
    owners TEXT NOT NULL CHECK (json_valid(owners))
) STRICT;

-- One array of one block of draws, little-endian, C order. `layer` is layer.id, 0 for the whole model.
-- Names are SAMPLE.FIELD as in gnoise.records, e.g. norms.draw_sq_norms; the first axis counts draws
-- (or pairs of draws, or blocks) and grows from block to block, but for the names below, which
-- stand once, in block 0:  coordinates.index  coordinates.second_moment  matrix.shape
-- A sketch is two arrays and two scalars: sketch.VIEW.buckets, .counts, .zeros, .nonfinite.
CREATE TABLE array (
    layer INTEGER NOT NULL,
    name  TEXT NOT NULL,
    block INTEGER NOT NULL,
    dtype TEXT NOT NULL,                                  -- NumPy's, e.g. '<f4'
    shape TEXT NOT NULL CHECK (json_valid(shape)),
    codec TEXT NOT NULL CHECK (codec IN ('raw', 'zlib')),
    data  BLOB NOT NULL,
    PRIMARY KEY (layer, name, block)
) STRICT;

-- A finite number with an interval, or no number and a status. `layer` is NULL for the whole model.
-- A missing end of the interval is unbounded.
CREATE TABLE estimate (
    id       INTEGER PRIMARY KEY,
    layer    TEXT REFERENCES layer (name),
    quantity TEXT NOT NULL,
    value    REAL,
    low      REAL,
    high     REAL,
    stderr   REAL,
    n        INTEGER NOT NULL,
    status   TEXT NOT NULL,
    note     TEXT NOT NULL,
    CHECK (value IS NOT NULL OR status <> 'ok'),
    CHECK (value IS NULL OR abs(value) < 9e999)
) STRICT;

CREATE UNIQUE INDEX estimate_key ON estimate (coalesce(layer, ''), quantity);

-- Which of several answers a layer gives to a question, or no answer and a status. `layer` is NULL for the
-- whole model. `p_value` is that of the calm answer, `q_value` the same adjusted for the number of layers asked.
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

-- At most one a layer. `because` lists estimate ids.
CREATE TABLE recommendation (
    id        INTEGER PRIMARY KEY,
    scope     TEXT NOT NULL CHECK (scope IN ('layer', 'model')),
    layer     TEXT REFERENCES layer (name),
    remedy    TEXT NOT NULL,
    params    TEXT NOT NULL CHECK (json_valid(params)),
    status    TEXT NOT NULL,
    reason    TEXT NOT NULL,
    because   TEXT NOT NULL CHECK (json_valid(because)),
    severity  TEXT NOT NULL,
    gain_low  REAL,
    gain_high REAL
) STRICT;

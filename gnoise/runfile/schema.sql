-- The gnoise run file, format 5. One SQLite database a run.
--
-- application_id is 'gnoi'; user_version is the format. A reader refuses a newer format.
-- Written in one transaction per block of draws, so that a kill at any moment leaves everything up
-- to the last block. `estimate`, `verdict`, `evidence` and `recommendation` can be made again from `array` at any time.
-- JSON columns hold no NaN and no infinity; arrays never hold a value that was not finite.

PRAGMA application_id = 0x676e6f69;
PRAGMA user_version = 5;

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
-- (progress.arms says the same in every block that has it: UTF-8, a line an arm; of progress.scale, .median_norm and
-- .mean_nuclear the last block's counts).
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

-- What one remedy would have bought one layer, as a ratio of progress per step to that of no remedy. `layer` is NULL
-- for the whole model; `remedy` 'batch' is a larger batch, the ruler. `role` says how the setting was chosen: 'setting',
-- not at all; 'remedy', on one half of the draws and judged on the other; 'best', likewise among all remedies.
-- `batch` is the batch, in multiples of the present one, that buys as much; NULL where none would. `tokens_saved` is what
-- the gain stands for in tokens; its interval allows for how far trials were from such predictions, that of the gain
-- for sampling alone.
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

CREATE UNIQUE INDEX evidence_key ON evidence (coalesce(layer, ''), role, remedy, setting);

-- At most one a layer. `because` lists estimate ids. `gain` is the expected gain, a ratio of progress per step;
-- `alternatives` says line by line how the other remedies did, the runner-up first; `unless` what would change the advice.
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

-- Training both ways: the plan (gnoise.trial_records.TrialPlan), and one row for each training that has ended
-- (gnoise.trial_records.TrialCurve). `arm` is 'tuning' while the learning rate is looked for.
CREATE TABLE trial (
    id      INTEGER PRIMARY KEY,
    plan    TEXT NOT NULL CHECK (json_valid(plan)),
    state   TEXT NOT NULL CHECK (state IN ('running', 'settled', 'complete', 'out_of_time')),
    created TEXT NOT NULL
) STRICT;

CREATE TABLE trial_curve (
    trial INTEGER NOT NULL REFERENCES trial (id),
    arm   TEXT NOT NULL,
    seed  INTEGER NOT NULL,
    rate  REAL NOT NULL,
    curve TEXT NOT NULL CHECK (json_valid(curve)),
    PRIMARY KEY (trial, arm, seed, rate)
) STRICT;

-- From format 3 to format 4: trials.

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

PRAGMA user_version = 4;

-- From format 4 to format 5: tokens saved. The next `gnoise analyze` fills them.

ALTER TABLE evidence ADD COLUMN tokens_saved REAL;
ALTER TABLE evidence ADD COLUMN tokens_saved_low REAL;
ALTER TABLE evidence ADD COLUMN tokens_saved_high REAL;

ALTER TABLE recommendation ADD COLUMN tokens_saved REAL;
ALTER TABLE recommendation ADD COLUMN tokens_saved_low REAL;
ALTER TABLE recommendation ADD COLUMN tokens_saved_high REAL;

PRAGMA user_version = 5;

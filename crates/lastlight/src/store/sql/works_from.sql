-- The newest migration that a binary must know to work on this schema; asked where the schema is
-- newer than the binary. Not there before migration 0011. Reads no table.
SELECT works_from()

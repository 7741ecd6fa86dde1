-- The newest migration that a binary must know to work on this schema; used if the schema is newer
-- than the binary. Does not exist before migration 0011. Reads no table.
SELECT works_from() AS "works_from!"

-- How old a binary may be that works on this schema: the newest migration that it must know. A binary that is older than the
-- schema asks this, so that one that is restarted or added while a new version is rolled out, or put back after it, starts. A
-- migration that the binary before does not work with replaces the function with its own number. A function, not a table: no
-- role needs to be granted anything.
CREATE OR REPLACE FUNCTION works_from() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT 11::bigint';

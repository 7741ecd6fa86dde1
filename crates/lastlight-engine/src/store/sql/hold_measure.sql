-- Lets one instance measure a stage; the others continue with another stage. Held until the
-- transaction ends, by commit or rollback. Does not lock the stage's row, which stays available to
-- the workflow. Locks: advisory, one per stage. Index: none.
SELECT pg_try_advisory_xact_lock(hashtextextended(concat_ws(' ', current_schema(), $1::text, $2::smallint), 7))
       AS "is_mine!"

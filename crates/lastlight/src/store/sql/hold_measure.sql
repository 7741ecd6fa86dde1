-- One instance measures a stage; the others go on with another one. Held until the transaction
-- ends, however it does. Not the stage's row: that stays free for those who work with it. Locks:
-- advisory, the stage's. Index: none.
SELECT pg_try_advisory_xact_lock(hashtextextended(concat_ws(' ', current_schema(), $1::text, $2::smallint), 7))

-- Lets one of several processes that start at the same time change the schema. Held until the
-- transaction ends: a lock of the session would stay with a connection that a pooler gives to
-- another client. Locks: advisory, one for all schemas. Index: none.
SELECT pg_advisory_xact_lock(7311943270150501)

-- Of several processes that start at once, one changes the schema at a time. Held until the
-- transaction ends: a lock of the session would stay with a connection that a pooler hands on.
-- Locks: advisory, one for all schemas. Index: none.
SELECT pg_advisory_xact_lock(7311943270150501)

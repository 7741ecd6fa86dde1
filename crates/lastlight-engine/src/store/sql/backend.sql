-- The id of the server process that answers. Index: none. Locks nothing.
SELECT pg_backend_pid() AS backend

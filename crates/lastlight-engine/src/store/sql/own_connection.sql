-- Whether the server connection belongs to this client alone: the application name came in the
-- client's first packet, and its source is then the client; a pooler that serves several clients by
-- one connection sets the name later. Index: none. Locks nothing.
SELECT setting LIKE 'lastlight%' AND source = 'client' AS is_own FROM pg_settings WHERE name = 'application_name'

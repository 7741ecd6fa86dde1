-- Whether the server's end of this connection is the client's own. Its name stands in the client's
-- first packet, and then came from there; a pooler that serves several clients by one connection
-- sets it afterwards. By no index; locks nothing.
SELECT setting LIKE 'lastlight%' AND source = 'client' AS is_own FROM pg_settings WHERE name = 'application_name'

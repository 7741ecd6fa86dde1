-- The maximum number of connections of the server, and how many of them are reserved for others.
-- Index: none. Locks nothing.
SELECT current_setting('max_connections')::integer AS "server!",
       current_setting('superuser_reserved_connections')::integer
           + COALESCE(current_setting('reserved_connections', true), '0')::integer AS "reserved!"

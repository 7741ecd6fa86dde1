-- How many connections the server takes, and how many of them are not for us.
SELECT current_setting('max_connections')::integer AS server,
       current_setting('superuser_reserved_connections')::integer
           + COALESCE(current_setting('reserved_connections', true), '0')::integer AS reserved

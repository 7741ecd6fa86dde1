-- The facts about a server that doctor reports: one row of settings, rights and the session's own
-- entries. Index: none. Locks nothing. $1: the schema.
SELECT current_setting('server_version_num')::integer AS "version!",
       current_setting('server_version') AS "version_text!",
       pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on' AS "is_read_only!",
       COALESCE((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS "is_encrypted!",
       current_setting('max_connections')::integer AS "connections!",
       current_setting('superuser_reserved_connections')::integer
           + COALESCE(current_setting('reserved_connections', true), '0')::integer AS "reserved!",
       (SELECT sum(numbackends) FROM pg_stat_database)::integer AS "used!",
       clock_timestamp() AS "now!",
       to_regnamespace(quote_ident($1)) IS NOT NULL AS "has_schema!",
       CASE WHEN to_regnamespace(quote_ident($1)) IS NULL THEN has_database_privilege(current_database(), 'CREATE')
            ELSE has_schema_privilege($1, 'CREATE') END AS "may_change_schema!",
       to_regnamespace(quote_ident($1)) IS NULL OR has_schema_privilege($1, 'USAGE') AS "may_use_schema!"

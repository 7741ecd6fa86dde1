-- What a connection of one's own is told once. Every statement goes by an index, whatever the size
-- of its tables: said so, its plan is made once a connection and holds; left to itself, the server
-- plans each group again, which takes longer than running it, or keeps a plan that scans a table
-- which was small. A row that somebody holds for long makes the statement fail, and its message
-- comes again, rather than hold up everybody; a process that was stopped in mid-transaction loses
-- its locks. The same stands in connections.rs for one transaction. Index: none. $1: the schema.
SELECT set_config('search_path', quote_ident($1), false),
       set_config('plan_cache_mode', 'force_generic_plan', false),
       set_config('enable_seqscan', 'off', false),
       set_config('enable_hashjoin', 'off', false),
       set_config('enable_mergejoin', 'off', false),
       set_config('jit', 'off', false),
       set_config('lock_timeout', '10s', false),
       set_config('idle_in_transaction_session_timeout', '30s', false)

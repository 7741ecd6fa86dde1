-- Settings of a connection that is used by this process alone, set once. They make every statement
-- use an index, whatever the size of its tables, with a plan that is made once per connection. With
-- the default settings, the server plans each group again, which takes longer than running it, or
-- keeps a plan that scans a table that was small when the plan was made. A row that is locked for
-- long makes the statement fail, and its message is redelivered, so that nobody else is blocked; a
-- process that was stopped in the middle of a transaction loses its locks. connections.rs has the
-- same settings for one transaction. Index: none. $1: the schema.
SELECT set_config('search_path', quote_ident($1), false),
       set_config('plan_cache_mode', 'force_generic_plan', false),
       set_config('enable_seqscan', 'off', false),
       set_config('enable_hashjoin', 'off', false),
       set_config('enable_mergejoin', 'off', false),
       set_config('jit', 'off', false),
       set_config('lock_timeout', '10s', false),
       set_config('idle_in_transaction_session_timeout', '30s', false)

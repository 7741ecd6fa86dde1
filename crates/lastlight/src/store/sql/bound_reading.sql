-- From here on each statement of the transaction is ended by the server after $1: one that its
-- caller has given up would hold its connection, and work on. Index: none.
SELECT set_config('statement_timeout', $1, true), set_config('transaction_read_only', 'on', true)

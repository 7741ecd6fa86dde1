-- Sets a timeout of $1 for each of the following statements of the transaction: a statement that
-- its caller no longer waits for would otherwise keep its connection and continue to run. Index:
-- none.
SELECT set_config('statement_timeout', $1, true), set_config('transaction_read_only', 'on', true)

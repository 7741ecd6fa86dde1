-- Says in this transaction who asked for its changes and why, so that their events say so: {"by": …, "reason": …}. Locks nothing.
SELECT set_config('lastlight.request', $1, true)

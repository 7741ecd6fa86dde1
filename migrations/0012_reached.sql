-- How far a process has worked off each path's queue: when the batch was sent of which a task began there last, and when that
-- was. What was sent later may still wait in the queue: it is late, not lost, and the sweep does not send it again.
-- The handler of the version before writes its rows without them.
ALTER TABLE instances
    ADD COLUMN queue_storage_reached    timestamptz,
    ADD COLUMN queue_storage_reached_at timestamptz,
    ADD COLUMN service_bus_reached      timestamptz,
    ADD COLUMN service_bus_reached_at   timestamptz;

-- Coarse messages: one message names a batch of several tasks. 1: each task of the batch has a message of its own.
ALTER TABLE task_batches
    ADD COLUMN tasks_per_message smallint NOT NULL DEFAULT 1 CHECK (tasks_per_message BETWEEN 1 AND 1000);

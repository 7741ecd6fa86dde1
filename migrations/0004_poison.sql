-- Messages that came back from a poison queue or from the dead letters, through no fault of their task or stage: how often
-- a new one was sent in their place, and when the newest of these was written. A message that is older has had its
-- successor: it is not counted again. Null: never.
ALTER TABLE tasks
    ADD COLUMN poisoned smallint,
    ADD COLUMN poisoned_at timestamptz;

ALTER TABLE stages
    ADD COLUMN poisoned smallint,
    ADD COLUMN poisoned_at timestamptz;

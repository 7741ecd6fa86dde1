-- The trace that a job belongs to: a W3C traceparent, set at submit and never changed. Null: submitted by a version that
-- did not know it. No index: nobody looks a job up by it, and a column of its own keeps the row's other updates heap-only.

ALTER TABLE jobs ADD COLUMN traceparent text;

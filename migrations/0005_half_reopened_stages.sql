-- Stages in which a retry that died left open tasks, although they are closed. Empty but for such accidents.
CREATE INDEX stages_half_reopened ON stages (updated_at)
    WHERE advanced_at IS NOT NULL AND completed + failed + skipped <> total;

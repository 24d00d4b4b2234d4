-- Checkpoints end: deleted on request or by policy, or found damaged. `seq` moves with that; `saved_seq` keeps the order.
ALTER TABLE checkpoints ADD COLUMN state text NOT NULL DEFAULT 'ACTIVE', ADD COLUMN reason text,
                        ADD COLUMN saved_seq bigint;
UPDATE checkpoints SET saved_seq = seq;
ALTER TABLE checkpoints ALTER COLUMN saved_seq SET NOT NULL;
CREATE INDEX checkpoints_newest ON checkpoints (saved_seq);
CREATE INDEX checkpoints_to_delete ON checkpoints (id) WHERE state = 'DELETING';
CREATE INDEX experiments_over ON experiments (seq) WHERE ended_at IS NOT NULL;
DROP INDEX checkpoints_of_experiment;
CREATE INDEX checkpoints_of_experiment ON checkpoints (experiment_id, saved_seq);

-- Which attempt of its trial saved a checkpoint: by that, and only then by when it was saved, one is newer than another.
-- The ids of those that are here tell: <trial>-a<epoch>-s<step>.
ALTER TABLE checkpoints ADD COLUMN epoch bigint;
ALTER TABLE history.checkpoints ADD COLUMN epoch bigint;
UPDATE checkpoints SET epoch = COALESCE(substring(id FROM '-a([0-9]{1,18})-s[0-9]+$')::bigint, 0);
UPDATE history.checkpoints SET epoch = COALESCE(substring(id FROM '-a([0-9]{1,18})-s[0-9]+$')::bigint, 0);
ALTER TABLE checkpoints ALTER COLUMN epoch SET NOT NULL;
CREATE INDEX checkpoints_latest ON checkpoints (trial_id, epoch, saved_seq);

-- Which attempt a trial's best validation is of: a later one may have come by the same step, and worse.
ALTER TABLE trials ADD COLUMN best_epoch bigint;
UPDATE trials t SET best_epoch = (
    SELECT min(m.epoch) FROM metrics m JOIN experiments e ON e.id = t.experiment_id
    WHERE m.trial_id = t.id AND m."group" = 'validation' AND m.name = e.metric AND m.step = t.best_step AND m.value = t.metric
) WHERE best_step IS NOT NULL;

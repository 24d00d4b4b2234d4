-- How many trials of a search train at a time: what its file says until somebody says otherwise.
ALTER TABLE experiments ADD COLUMN max_concurrent_trials bigint;
ALTER TABLE history.experiments ADD COLUMN max_concurrent_trials bigint;
UPDATE experiments SET max_concurrent_trials = (config #>> '{searcher,max_concurrent_trials}')::bigint;
UPDATE history.experiments h SET max_concurrent_trials = e.max_concurrent_trials FROM experiments e WHERE e.id = h.id;

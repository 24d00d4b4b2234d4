-- Which events are about an experiment or an agent as a whole, to retell their lives without scanning the log. What is
-- about one trial is in trial_events.
CREATE TABLE events_of (
    kind text NOT NULL,  -- experiment or agent
    id   text NOT NULL,
    seq  bigint NOT NULL,
    name text NOT NULL,
    PRIMARY KEY (kind, id, seq)
);

-- What is folded already is folded again.
UPDATE projections SET position = 0 WHERE name = 'events';
SELECT history.clear();
TRUNCATE trial_events;

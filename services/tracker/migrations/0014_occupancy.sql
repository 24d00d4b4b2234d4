-- Who held how many slots from when to when, and how many there were: what slot-seconds are counted from.

CREATE TABLE occupancy (
    allocation_id text PRIMARY KEY,
    trial_id      text NOT NULL,
    experiment_id text NOT NULL,
    pool_id       text NOT NULL,
    num_slots     bigint NOT NULL,
    from_at       timestamptz NOT NULL,
    to_at         timestamptz            -- NULL: still held
);
CREATE INDEX occupancy_over ON occupancy (to_at, from_at);
CREATE INDEX occupancy_open ON occupancy (from_at) WHERE to_at IS NULL;

CREATE TABLE presence (
    agent_id    text NOT NULL,
    incarnation text NOT NULL,
    pool_id     text NOT NULL,
    num_slots   bigint NOT NULL,
    from_at     timestamptz NOT NULL,
    to_at       timestamptz,
    PRIMARY KEY (agent_id, incarnation)
);
CREATE INDEX presence_over ON presence (to_at, from_at);

-- What is folded already is folded again.
UPDATE projections SET position = 0 WHERE name = 'events';
SELECT history.refresh();
SELECT history.clear();
TRUNCATE trial_events, events_of;

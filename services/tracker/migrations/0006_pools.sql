-- What administrators set: closed agents and slots, pools' policies, limits; and what of an experiment they bear on.

-- The rows that are here already know nothing of it: they are folded again.
UPDATE projections SET position = 0 WHERE name = 'events';
SELECT history.clear();

ALTER TABLE experiments
    ADD COLUMN workspace text NOT NULL,
    ADD COLUMN priority bigint NOT NULL,
    ADD COLUMN weight double precision NOT NULL,
    ADD COLUMN max_slots bigint;

ALTER TABLE agents
    ADD COLUMN labels jsonb NOT NULL,
    ADD COLUMN zero_slot_limit bigint NOT NULL;

CREATE TABLE closures (
    agent_id text NOT NULL,
    slot     bigint NOT NULL,  -- -1: the agent as a whole
    state    text NOT NULL,    -- DRAINING, DISABLED or, when that is over, ENABLED
    since    timestamptz NOT NULL,
    ends_at  timestamptz,      -- when what runs on a draining one must stop
    seq      bigint NOT NULL,
    PRIMARY KEY (agent_id, slot)
);

CREATE TABLE pool_policies (
    pool_id text PRIMARY KEY,  -- '': those that nobody configured
    policy  jsonb NOT NULL,
    seq     bigint NOT NULL
);

CREATE TABLE limits (
    id            text PRIMARY KEY,
    workspace     text,        -- NULL: each
    max_slots     bigint,
    best_priority bigint,      -- both NULL: lifted
    seq           bigint NOT NULL
);

INSERT INTO history.tracked VALUES
    ('closures', '{agent_id,slot}', '{}', NULL),
    ('pool_policies', '{pool_id}', '{}', NULL),
    ('limits', '{id}', '{}', NULL);
UPDATE history.tracked SET constants = constants || '{workspace}' WHERE name = 'experiments';

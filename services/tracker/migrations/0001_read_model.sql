-- The read model: a fold of the log, to be dropped and folded again at any time.

-- How far each stream is folded; advanced in the transaction that writes the rows.
CREATE TABLE projections (
    name     text PRIMARY KEY,
    position bigint NOT NULL
);
INSERT INTO projections VALUES ('events', 0), ('metrics', 0);

CREATE TABLE experiments (
    id                text PRIMARY KEY,
    name              text NOT NULL,
    description       text NOT NULL,
    labels            text[] NOT NULL,
    state             text NOT NULL,
    config            jsonb NOT NULL,
    searcher          text NOT NULL,
    metric            text NOT NULL,
    smaller_is_better boolean NOT NULL,
    max_trials        bigint,            -- NULL: the searcher decides
    max_steps         bigint,            -- of one trial, where the length is given in batches
    slots_per_trial   bigint NOT NULL,
    pool_id           text NOT NULL,
    code_sha256       text NOT NULL,
    code_bytes        bigint NOT NULL,
    submitted_at      timestamptz NOT NULL,
    submitted_seq     bigint NOT NULL,
    ended_at          timestamptz,
    reason            text,
    best_trial_id     text,              -- as the searcher said at the end
    seq               bigint NOT NULL    -- of the newest event in this row
);
CREATE INDEX experiments_newest ON experiments (submitted_seq);

CREATE TABLE trials (
    id              text PRIMARY KEY,
    experiment_id   text NOT NULL,
    index           bigint NOT NULL,
    state           text NOT NULL,
    hyperparameters jsonb NOT NULL,
    seed            numeric NOT NULL,
    slots           bigint NOT NULL,
    pool_id         text NOT NULL,
    origin          text NOT NULL,
    restarts        bigint NOT NULL DEFAULT 0,
    epoch           bigint NOT NULL DEFAULT 0,  -- of the newest allocation; events of another one are void
    allocation_id   text,                       -- while it holds slots
    outcome         text,                       -- how the current epoch exited, until it is retried
    requested_at    timestamptz NOT NULL,
    requested_seq   bigint NOT NULL,
    waiting_since   timestamptz NOT NULL,
    started_at      timestamptz,
    ended_at        timestamptz,
    step            bigint,                     -- the newest one known from EVENTS
    metric          double precision,           -- best validation of the experiment's metric
    best_step       bigint,
    reason          text,
    error           text,
    seq             bigint NOT NULL
);
CREATE INDEX trials_of_experiment ON trials (experiment_id, index);
CREATE INDEX trials_open ON trials (requested_seq) WHERE ended_at IS NULL;

-- Which events are about a trial, to retell its life without scanning the log.
CREATE TABLE trial_events (
    trial_id text NOT NULL,
    seq      bigint NOT NULL,
    name     text NOT NULL,
    PRIMARY KEY (trial_id, seq)
);

CREATE TABLE allocations (
    id            text PRIMARY KEY,
    trial_id      text NOT NULL,
    experiment_id text NOT NULL,
    pool_id       text NOT NULL,
    epoch         bigint NOT NULL,
    members       jsonb NOT NULL,  -- [{agent_id, incarnation, slots: [n]}], the chief first
    allocated_at  timestamptz NOT NULL,
    released_at   timestamptz
);
CREATE INDEX allocations_of_trial ON allocations (trial_id, epoch);
CREATE INDEX allocations_open ON allocations (pool_id) WHERE released_at IS NULL;

CREATE TABLE agents (
    id          text PRIMARY KEY,
    incarnation text NOT NULL,
    pool_id     text NOT NULL,
    address     text NOT NULL,
    state       text NOT NULL,
    joined_at   timestamptz NOT NULL
);

CREATE TABLE slots (
    agent_id     text NOT NULL,
    number       bigint NOT NULL,
    kind         text NOT NULL,
    name         text NOT NULL,
    device_uuid  text,
    memory_bytes numeric,
    PRIMARY KEY (agent_id, number)
);

CREATE TABLE checkpoints (
    id            text PRIMARY KEY,
    trial_id      text NOT NULL,
    experiment_id text NOT NULL,
    step          bigint NOT NULL,
    saved_at      timestamptz NOT NULL,
    world_size    bigint NOT NULL,
    zero_stage    bigint,
    size_bytes    numeric NOT NULL,
    files         jsonb NOT NULL,  -- [{path, size_bytes, sha256}]
    seq           bigint NOT NULL
);
CREATE INDEX checkpoints_of_trial ON checkpoints (trial_id, step);
CREATE INDEX checkpoints_of_experiment ON checkpoints (experiment_id, seq);

-- Validation metrics come from EVENTS, training metrics from METRICS. A resumed trial repeats steps: the highest
-- epoch of a step counts.
CREATE TABLE metrics (
    trial_id text NOT NULL,
    "group"  text NOT NULL,
    name     text NOT NULL,
    step     bigint NOT NULL,
    epoch    bigint NOT NULL,
    value    double precision NOT NULL,
    time     timestamptz NOT NULL,
    PRIMARY KEY (trial_id, "group", name, step, epoch)
);

-- The newest step of a trial known from METRICS; apart from `trials`, so that the two folds never wait for each other.
CREATE TABLE training_steps (
    trial_id text PRIMARY KEY,
    step     bigint NOT NULL
);

-- GPUs that their agents found unhealthy.
CREATE TABLE slot_faults (
    agent_id text NOT NULL,
    slot     bigint NOT NULL,
    fault    text,             -- NULL: it is healthy again, or an administrator has enabled it
    detail   text NOT NULL,
    since    timestamptz NOT NULL,
    seq      bigint NOT NULL,
    PRIMARY KEY (agent_id, slot)
);

INSERT INTO history.tracked VALUES ('slot_faults', '{agent_id,slot}', '{}', NULL);

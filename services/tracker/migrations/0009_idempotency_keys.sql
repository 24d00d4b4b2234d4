-- What was answered to requests that carried an Idempotency-Key: the gateway's, no fold of the log, and kept when the
-- read model is built again.
CREATE TABLE idempotency_keys (
    owner       text NOT NULL,         -- the user
    key         text NOT NULL,
    fingerprint bytea NOT NULL,        -- of the request
    reserved    text NOT NULL,         -- the id of the experiment that the request makes, if it makes one
    begun_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    status      integer,               -- NULL: not answered yet
    headers     jsonb,
    body        bytea,                 -- NULL: not kept, as it holds a secret
    PRIMARY KEY (owner, key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (begun_at);

-- Runs: what is tracked outside trials, in experiments of their own kind (docs/mlflow.md), and the models they log.

CREATE TABLE tracked_experiments (
    id         text PRIMARY KEY,
    name       text NOT NULL,
    workspace  text NOT NULL,
    deleted    boolean NOT NULL DEFAULT false,
    tags       jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    created_by text NOT NULL,
    seq        bigint NOT NULL
);
CREATE INDEX tracked_experiments_by_name ON tracked_experiments (workspace, name);

-- Where a client logs that names no experiment; there from the beginning, said by nobody.
INSERT INTO tracked_experiments VALUES ('0', 'Default', '', false, '{}', 'epoch', 'epoch', '', 0);

CREATE TABLE runs (
    id            text PRIMARY KEY,
    experiment_id text NOT NULL,
    name          text NOT NULL,
    owner         text NOT NULL,
    status        text NOT NULL,
    deleted       boolean NOT NULL DEFAULT false,
    params        jsonb NOT NULL DEFAULT '{}',  -- texts by name
    tags          jsonb NOT NULL DEFAULT '{}',
    datasets      jsonb NOT NULL DEFAULT '[]',
    used          jsonb NOT NULL DEFAULT '[]',  -- models: [{model_id, step}]
    made          jsonb NOT NULL DEFAULT '[]',
    started_at    timestamptz NOT NULL,
    ended_at      timestamptz,
    created_seq   bigint NOT NULL,
    seq           bigint NOT NULL
);
CREATE INDEX runs_of_experiment ON runs (experiment_id, started_at DESC);
CREATE INDEX runs_params ON runs USING gin (params jsonb_path_ops);
CREATE INDEX runs_tags ON runs USING gin (tags jsonb_path_ops);

CREATE TABLE logged_models (
    id            text PRIMARY KEY,
    experiment_id text NOT NULL,
    run_id        text,
    name          text NOT NULL,
    model_type    text NOT NULL,
    status        text NOT NULL,
    deleted       boolean NOT NULL DEFAULT false,
    params        jsonb NOT NULL DEFAULT '{}',
    tags          jsonb NOT NULL DEFAULT '{}',
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    seq           bigint NOT NULL
);
CREATE INDEX logged_models_of_experiment ON logged_models (experiment_id, created_at DESC);

-- Of a run's metric the newest value, by step, time and value: what searches look at. Its series lies in chunks, as
-- those of trials do.
CREATE TABLE run_metrics (
    run_id  text NOT NULL,
    name    text NOT NULL,
    step    bigint NOT NULL,
    time_us bigint NOT NULL,
    value   double precision NOT NULL,
    PRIMARY KEY (run_id, name)
);

-- Points that a series cannot hold: all that a client logged without a step, which therefore are all at step 0, and
-- values that are not finite.
CREATE TABLE run_points (
    run_id  text NOT NULL,
    name    text NOT NULL,
    step    bigint NOT NULL,
    time_us bigint NOT NULL,
    value   double precision NOT NULL,
    PRIMARY KEY (run_id, name, step, time_us, value)
);

CREATE TABLE model_metrics (
    model_id       text NOT NULL,
    run_id         text NOT NULL,
    name           text NOT NULL,
    dataset_name   text NOT NULL,
    dataset_digest text NOT NULL,
    step           bigint NOT NULL,
    time_us        bigint NOT NULL,
    value          double precision NOT NULL,
    PRIMARY KEY (model_id, run_id, name, dataset_name, dataset_digest)
);

-- A number of float8send, as the series have them; these are finite.
CREATE FUNCTION float8_of(bytea) RETURNS double precision LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT CASE WHEN bits < 0 THEN -1.0::float8 ELSE 1.0::float8 END
           * (CASE WHEN exponent = 0 THEN fraction ELSE fraction + 4503599627370496 END)::float8
           * power(2.0::float8, (GREATEST(exponent, 1) - 1075)::float8)
    FROM (SELECT ('x' || encode($1, 'hex'))::bit(64)::bigint AS bits) a
    CROSS JOIN LATERAL (SELECT (bits >> 52) & 2047 AS exponent, bits & 4503599627370495 AS fraction) b
$$;
CREATE FUNCTION int8_of(bytea) RETURNS bigint LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT ('x' || encode($1, 'hex'))::bit(64)::bigint
$$;

-- Hyperparameters as texts by name; what is nested has the way there as its name: optimizer.lr.
CREATE FUNCTION flat(jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    WITH RECURSIVE found (name, value) AS (
        SELECT key, value FROM jsonb_each($1)
        UNION ALL
        SELECT f.name || '.' || e.key, e.value
        FROM found f CROSS JOIN LATERAL jsonb_each(CASE jsonb_typeof(f.value) WHEN 'object' THEN f.value END) e
    )
    SELECT COALESCE(jsonb_object_agg(name, value #>> '{}') FILTER (WHERE jsonb_typeof(value) <> 'object'), '{}')
    FROM found
$$;

-- The newest value of each metric of a run or a trial. Of a trial, validations have their own names, and other metrics
-- their group's before them.
CREATE FUNCTION newest_metrics(text)
RETURNS TABLE (name text, step bigint, time_us bigint, value double precision) LANGUAGE sql STABLE AS $$
    SELECT r.name, r.step, r.time_us, r.value FROM run_metrics r WHERE r.run_id = $1
    UNION ALL
    (SELECT DISTINCT ON (m.name) m.name, m.step, (extract(epoch FROM m.time) * 1000000)::bigint, m.value
     FROM metrics m WHERE m.trial_id = $1 AND m."group" = 'validation' ORDER BY m.name, m.epoch DESC, m.step DESC)
    UNION ALL
    SELECT a."group" || '/' || a.name, COALESCE(t.step, c.last_step), t.time_us, COALESCE(t.value, c.last_value)
    FROM (SELECT DISTINCT ON (b."group", b.name) b."group", b.name, b.id FROM metric_attempts b
          WHERE b.trial_id = $1 AND b."group" <> 'run' ORDER BY b."group", b.name, b.epoch DESC) a
    LEFT JOIN LATERAL (
        SELECT i.last_step AS step, int8_of(substring(i.times FROM length(i.times) - 7)) AS time_us,
               float8_of(substring(i.values FROM length(i.values) - 7)) AS value
        FROM metric_tails i WHERE i.attempt_id = a.id ORDER BY i.last_step DESC LIMIT 1
    ) t ON true
    LEFT JOIN LATERAL (
        SELECT k.last_step, k.last_value FROM metric_chunks k WHERE k.attempt_id = a.id
        ORDER BY k.first_step DESC LIMIT 1
    ) c ON true
$$;

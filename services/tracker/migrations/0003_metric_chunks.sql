-- Training metrics as chunks of a series instead of a row a point; see docs/metrics.md.
-- Numbers inside the columns of bytes are in network order; shared/series.py reads and writes them.

-- One attempt's part of a series. Its points from `first_step` of a later attempt on are archived: kept, not shown.
CREATE TABLE metric_attempts (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    trial_id   text NOT NULL,
    "group"    text NOT NULL,
    name       text NOT NULL,
    epoch      bigint NOT NULL,
    first_step bigint NOT NULL,
    sealed_to  bigint,           -- the last step in chunks; NULL: none yet
    UNIQUE (trial_id, "group", name, epoch)
);

-- Up to 4,096 points by step; the chunks of an attempt do not overlap.
CREATE TABLE metric_chunks (
    attempt_id  bigint NOT NULL,
    first_step  bigint NOT NULL,
    first_value double precision NOT NULL,
    low_step    bigint NOT NULL,
    low_value   double precision NOT NULL,
    high_step   bigint NOT NULL,
    high_value  double precision NOT NULL,
    last_step   bigint NOT NULL,
    last_value  double precision NOT NULL,
    num_points  integer NOT NULL,
    sketch      bytea NOT NULL,  -- the same eight columns for every 128 points
    steps       bytea NOT NULL,
    times       bytea NOT NULL,
    values      bytea NOT NULL,
    PRIMARY KEY (attempt_id, first_step)
) PARTITION BY HASH (attempt_id);
ALTER TABLE metric_chunks
    ALTER COLUMN sketch SET STORAGE EXTERNAL,  -- deflated already; out of line, so that a look at the rest is short
    ALTER COLUMN steps SET STORAGE EXTERNAL,
    ALTER COLUMN times SET STORAGE EXTERNAL,
    ALTER COLUMN values SET STORAGE EXTERNAL;
DO $$
BEGIN
    FOR number IN 0..7 LOOP
        EXECUTE format('CREATE TABLE metric_chunks_%s PARTITION OF metric_chunks '
                       'FOR VALUES WITH (MODULUS 8, REMAINDER %s)', number, number);
    END LOOP;
END $$;

-- What came since the newest chunk: each row lies after the chunks and after the rows before it.
CREATE TABLE metric_tails (
    attempt_id bigint NOT NULL,
    last_step  bigint NOT NULL,
    num_points integer NOT NULL,
    steps      bytea NOT NULL,   -- as they are
    times      bytea NOT NULL,
    values     bytea NOT NULL,
    PRIMARY KEY (attempt_id, last_step)
);
ALTER TABLE metric_tails
    ALTER COLUMN steps SET STORAGE EXTERNAL,  -- soon sealed, not worth PostgreSQL's compression
    ALTER COLUMN times SET STORAGE EXTERNAL,
    ALTER COLUMN values SET STORAGE EXTERNAL;

-- What earlier versions stored a row a point: one tail an attempt, sealed with the next report.
INSERT INTO metric_attempts (trial_id, "group", name, epoch, first_step)
SELECT trial_id, "group", name, epoch, min(step) FROM metrics WHERE "group" <> 'validation'
GROUP BY trial_id, "group", name, epoch;
INSERT INTO metric_tails (attempt_id, last_step, num_points, steps, times, values)
SELECT a.id, max(m.step), count(*), string_agg(int8send(m.step), '' ORDER BY m.step),
       string_agg(int8send((extract(epoch FROM m.time) * 1000000)::bigint), '' ORDER BY m.step),
       string_agg(float8send(m.value), '' ORDER BY m.step)
FROM metric_attempts a JOIN metrics m USING (trial_id, "group", name, epoch)
GROUP BY a.id;
DELETE FROM metrics WHERE "group" <> 'validation';

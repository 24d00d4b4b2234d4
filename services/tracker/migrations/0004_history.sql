-- Every version that a row ever had, so that the read model can be asked as it was after any event.
--
-- Each row says in `seq` which event it was last changed by. Whoever changes a row says so, and a trigger keeps the old
-- version in `history`, with `until_seq`: the event that ended it. A row that goes is changed first, deleted then.
--   history.<table>          the versions that are over
--   history.<table>_at(seq)  the rows as they were right after the event `seq`
--   as_of.<table>            the same, for the `seq` in the setting tm.as_of: a reader with as_of in its search_path
--                            asks the very same questions about the past
-- history.refresh() makes all that of the columns that the tables have; the tracker calls it after every migration.

-- The rows that are here already do not know their history: they are folded again.
UPDATE projections SET position = 0 WHERE name = 'events';
TRUNCATE experiments, trials, trial_events, allocations, agents, slots, checkpoints;

ALTER TABLE allocations ADD COLUMN allocated_seq bigint NOT NULL, ADD COLUMN seq bigint NOT NULL;
ALTER TABLE agents ADD COLUMN seq bigint NOT NULL;
ALTER TABLE slots ADD COLUMN seq bigint NOT NULL;
CREATE INDEX trials_requested ON trials (requested_seq);
CREATE INDEX allocations_made ON allocations (allocated_seq);

CREATE SCHEMA history;
CREATE SCHEMA as_of;

CREATE TABLE history.tracked (
    name      text PRIMARY KEY,
    key       text[] NOT NULL,
    constants text[] NOT NULL,  -- columns that never change are not kept twice; such a table's rows never go
    born      text              -- the constant column that holds the first version's seq
);
INSERT INTO history.tracked VALUES
    ('experiments', '{id}', '{name,description,labels,config,searcher,metric,smaller_is_better,max_trials,max_steps,'
        'slots_per_trial,code_sha256,code_bytes,submitted_at,submitted_seq}', 'submitted_seq'),
    ('trials', '{id}', '{experiment_id,index,hyperparameters,seed,slots,origin,requested_at,requested_seq}',
        'requested_seq'),
    ('allocations', '{id}', '{trial_id,experiment_id,pool_id,epoch,members,allocated_at,allocated_seq}',
        'allocated_seq'),
    ('agents', '{id}', '{}', NULL),
    ('slots', '{agent_id,number}', '{}', NULL),
    ('checkpoints', '{id}', '{}', NULL);

-- What METRICS told is no part of the log: nothing of it is known of an earlier moment.
CREATE VIEW as_of.training_steps AS SELECT trial_id, step FROM public.training_steps WHERE false;

CREATE FUNCTION history.columns_of(tracked history.tracked, template text, with_constants boolean) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT string_agg(format(template, attname, CASE WHEN attname = ANY (tracked.constants) THEN 't' ELSE 'v' END), ', '
                      ORDER BY attnum)
    FROM pg_attribute
    WHERE attrelid = format('public.%I', tracked.name)::regclass AND attnum > 0 AND NOT attisdropped
      AND (with_constants OR attname <> ALL (tracked.constants))
$$;

CREATE FUNCTION history.keep(tracked history.tracked) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    definition text;
    versioned text := history.columns_of(tracked, '%I', false);
BEGIN
    EXECUTE format('CREATE TABLE IF NOT EXISTS history.%I (until_seq bigint NOT NULL)', tracked.name);
    FOR definition IN
        SELECT concat_ws(' ', quote_ident(attname), format_type(atttypid, atttypmod),
                         'DEFAULT ' || pg_get_expr(adbin, adrelid))
        FROM pg_attribute LEFT JOIN pg_attrdef ON (adrelid, adnum) = (attrelid, attnum)
        WHERE attrelid = format('public.%I', tracked.name)::regclass AND attnum > 0 AND NOT attisdropped
          AND attname <> ALL (tracked.constants)
    LOOP
        EXECUTE format('ALTER TABLE history.%I ADD COLUMN IF NOT EXISTS %s', tracked.name, definition);
    END LOOP;
    EXECUTE format('CREATE UNIQUE INDEX IF NOT EXISTS %I ON history.%I (%s, until_seq)',
                   tracked.name || '_versions', tracked.name, array_to_string(tracked.key, ', '));
    EXECUTE format('CREATE OR REPLACE FUNCTION history.%I() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN '
                   'INSERT INTO history.%I (until_seq, %s) VALUES (NEW.seq, %s); RETURN NULL; END $f$',
                   'keep_' || tracked.name, tracked.name, versioned, history.columns_of(tracked, 'OLD.%I', false));
    EXECUTE format('CREATE OR REPLACE TRIGGER history AFTER UPDATE ON public.%I FOR EACH ROW '
                   'WHEN (OLD.seq < NEW.seq) EXECUTE FUNCTION history.%I()', tracked.name, 'keep_' || tracked.name);
END $$;

-- The rows after the event `moment`: those that have not changed since, and of the others the version that it met. Where
-- rows never go, that version is looked up by key, so that an answer costs what changed since and not all that ever did.
CREATE FUNCTION history.question(tracked history.tracked, moment text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT format('SELECT %s FROM public.%I t WHERE t.seq <= %s UNION ALL ',
                  history.columns_of(tracked, 't.%I', true), tracked.name, moment)
        || CASE WHEN tracked.born IS NULL
           THEN format('SELECT %s FROM history.%I v WHERE v.seq <= %s AND v.until_seq > %s',
                       history.columns_of(tracked, 'v.%I', true), tracked.name, moment, moment)
           ELSE format('SELECT %s FROM public.%I t CROSS JOIN LATERAL (SELECT * FROM history.%I h WHERE h.id = t.id '
                       'AND h.until_seq > %s ORDER BY h.until_seq LIMIT 1) v WHERE t.%I <= %s AND t.seq > %s',
                       history.columns_of(tracked, '%2$s.%1$I', true), tracked.name, tracked.name, moment, tracked.born,
                       moment, moment)
           END
$$;

CREATE FUNCTION history.show(tracked history.tracked) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('DROP FUNCTION IF EXISTS history.%I(bigint)', tracked.name || '_at');
    EXECUTE format('CREATE FUNCTION history.%I(bigint) RETURNS SETOF public.%I LANGUAGE sql STABLE AS $f$ %s $f$',
                   tracked.name || '_at', tracked.name, history.question(tracked, '$1'));
    EXECUTE format('DROP VIEW IF EXISTS as_of.%I', tracked.name);
    EXECUTE format('CREATE VIEW as_of.%I AS %s', tracked.name,
                   history.question(tracked, '(SELECT current_setting(''tm.as_of'')::bigint)'));
END $$;

CREATE FUNCTION history.refresh() RETURNS void LANGUAGE sql AS $$
    SELECT history.keep(tracked) FROM history.tracked ORDER BY name;
    SELECT history.show(tracked) FROM history.tracked ORDER BY name;
$$;

CREATE FUNCTION history.clear() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT tracked.name FROM history.tracked LOOP
        EXECUTE format('TRUNCATE public.%I, history.%I', name, name);
    END LOOP;
END $$;

SELECT history.refresh();
CREATE INDEX checkpoint_versions_of_trial ON history.checkpoints (trial_id);
CREATE INDEX checkpoint_versions_of_experiment ON history.checkpoints (experiment_id);

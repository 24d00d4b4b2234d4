-- What differs between two moments is found by what changed between them: the versions that ended then, and the rows that
-- began then; not by comparing all that there was.
--   history.<table>_of(id, seq)  one row as it was right after the event `seq`, where rows never go
CREATE FUNCTION history.version(tracked history.tracked) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT format('SELECT %s FROM public.%I t WHERE t.id = $1 AND t.seq <= $2 UNION ALL '
                  'SELECT %s FROM public.%I t CROSS JOIN LATERAL (SELECT * FROM history.%I h WHERE h.id = t.id '
                  'AND h.until_seq > $2 ORDER BY h.until_seq LIMIT 1) v WHERE t.id = $1 AND t.%I <= $2 AND t.seq > $2',
                  history.columns_of(tracked, 't.%I', true), tracked.name,
                  history.columns_of(tracked, '%2$s.%1$I', true), tracked.name, tracked.name, tracked.born)
$$;

CREATE OR REPLACE FUNCTION history.show(tracked history.tracked) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('DROP FUNCTION IF EXISTS history.%I(bigint)', tracked.name || '_at');
    EXECUTE format('CREATE FUNCTION history.%I(bigint) RETURNS SETOF public.%I LANGUAGE sql STABLE AS $f$ %s $f$',
                   tracked.name || '_at', tracked.name, history.question(tracked, '$1'));
    IF tracked.born IS NOT NULL THEN
        EXECUTE format('DROP FUNCTION IF EXISTS history.%I(text, bigint)', tracked.name || '_of');
        EXECUTE format('CREATE FUNCTION history.%I(text, bigint) RETURNS SETOF public.%I LANGUAGE sql STABLE '
                       'AS $f$ %s $f$', tracked.name || '_of', tracked.name, history.version(tracked));
    END IF;
    EXECUTE format('DROP VIEW IF EXISTS as_of.%I', tracked.name);
    EXECUTE format('CREATE VIEW as_of.%I AS %s', tracked.name,
                   history.question(tracked, '(SELECT current_setting(''tm.as_of'')::bigint)'));
END $$;

CREATE INDEX experiment_versions_by_end ON history.experiments (until_seq);
CREATE INDEX trial_versions_by_end ON history.trials (until_seq);
CREATE INDEX allocation_versions_by_end ON history.allocations (until_seq);
CREATE INDEX checkpoints_changed ON checkpoints (seq);
SELECT history.refresh();

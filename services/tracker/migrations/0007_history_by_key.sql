-- A version is found by the key of the row that is there now, so that a question about one row looks up one; and what a
-- person may change in a running search has a past.
CREATE OR REPLACE FUNCTION history.columns_of(tracked history.tracked, template text, with_constants boolean)
RETURNS text LANGUAGE sql STABLE AS $$
    SELECT string_agg(format(template, attname, CASE WHEN attname = ANY (tracked.constants || tracked.key) THEN 't'
                                                     ELSE 'v' END), ', ' ORDER BY attnum)
    FROM pg_attribute
    WHERE attrelid = format('public.%I', tracked.name)::regclass AND attnum > 0 AND NOT attisdropped
      AND (with_constants OR attname <> ALL (tracked.constants))
$$;

UPDATE history.tracked SET constants = array_remove(constants, 'max_trials') WHERE name = 'experiments';

-- The history that is here already lacks it: it is folded again.
UPDATE projections SET position = 0 WHERE name = 'events';
SELECT history.refresh();
SELECT history.clear();
TRUNCATE trial_events, events_of;

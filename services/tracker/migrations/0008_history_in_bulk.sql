-- The tables that most events change are folded in memory: who folds them so (the setting tm.history is 'bulk') writes
-- their versions too. Whoever else changes one of their rows still has the trigger keep the version before.
ALTER TABLE history.tracked ADD COLUMN in_bulk boolean NOT NULL DEFAULT false;
UPDATE history.tracked SET in_bulk = true WHERE name IN ('trials', 'allocations', 'checkpoints');

CREATE OR REPLACE FUNCTION history.keep(tracked history.tracked) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    definition text;
    versioned text := history.columns_of(tracked, '%I', false);
    taken_over text := CASE WHEN tracked.in_bulk THEN ' AND current_setting(''tm.history'', true) IS DISTINCT FROM ''bulk'''
                       ELSE '' END;
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
                   'WHEN (OLD.seq < NEW.seq%s) EXECUTE FUNCTION history.%I()', tracked.name, taken_over,
                   'keep_' || tracked.name);
END $$;

-- A row is updated in place where its page has room.
ALTER TABLE trials SET (fillfactor = 60);
ALTER TABLE allocations SET (fillfactor = 80);
SELECT history.refresh();

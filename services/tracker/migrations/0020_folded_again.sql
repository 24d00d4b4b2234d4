-- 0017 and 0018 filled new columns from what was there: of the best epoch the past had none, and a search's limit was its
-- file's, whatever somebody had said since. What is folded already is folded again, with what was set aside.
LOCK TABLE projections IN ACCESS EXCLUSIVE MODE;  -- for those who read several tables at one moment
SELECT pg_notify('projection', 'events 0') FROM projections WHERE name = 'events' AND position > 0;
UPDATE projections SET position = 0 WHERE name = 'events';
DELETE FROM set_aside WHERE stream = 'EVENTS';
SELECT history.refresh();
SELECT history.clear();
TRUNCATE trial_events, events_of;

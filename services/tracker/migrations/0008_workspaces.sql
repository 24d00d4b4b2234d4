-- Where experiments are kept: workspaces, projects, the archive; and what people write on them. Names, descriptions,
-- labels and places of an experiment may change, so they have a past.

-- What is folded already knows nothing of it: it is folded again.
UPDATE projections SET position = 0 WHERE name = 'events';
SELECT history.clear();
TRUNCATE trial_events, events_of;

ALTER TABLE experiments
    ADD COLUMN project text NOT NULL,
    ADD COLUMN owner text NOT NULL,              -- who submitted it
    ADD COLUMN notes text NOT NULL DEFAULT '',
    ADD COLUMN archived boolean NOT NULL DEFAULT false,
    ADD COLUMN deletion text,                    -- REQUESTED, DONE; NULL: nobody asked for it
    ADD COLUMN forked_from text;
CREATE INDEX experiments_of_workspace ON experiments (workspace, project, submitted_seq);
CREATE INDEX experiments_to_delete ON experiments (id) WHERE deletion = 'REQUESTED';
CREATE INDEX experiments_labels ON experiments USING gin (labels);
CREATE INDEX experiments_resume_from ON experiments ((config ->> 'resume_from')) WHERE config ->> 'resume_from' IS NOT NULL;
CREATE INDEX trials_by_metric ON trials (experiment_id, metric);

CREATE TABLE workspaces (
    id          text PRIMARY KEY,
    name        text NOT NULL,
    description text NOT NULL,
    created_at  timestamptz NOT NULL,
    created_by  text NOT NULL,
    archived    boolean NOT NULL DEFAULT false,
    seq         bigint NOT NULL
);

CREATE TABLE projects (
    id          text PRIMARY KEY,
    workspace   text NOT NULL,
    name        text NOT NULL,
    description text NOT NULL,
    created_at  timestamptz NOT NULL,
    created_by  text NOT NULL,
    archived    boolean NOT NULL DEFAULT false,
    seq         bigint NOT NULL
);
CREATE INDEX projects_of_workspace ON projects (workspace, name);

INSERT INTO history.tracked VALUES
    ('workspaces', '{id}', '{}', NULL),
    ('projects', '{id}', '{}', NULL);
UPDATE history.tracked
SET constants = constants || '{owner,forked_from}'
WHERE name = 'experiments';
UPDATE history.tracked
SET constants = (SELECT array_agg(name) FROM unnest(constants) name
                 WHERE name <> ALL ('{name,description,labels,workspace}'::text[]))
WHERE name = 'experiments';

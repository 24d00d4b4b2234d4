-- An index holds no more than 2,704 bytes a row, and what a client calls its data sets may be longer.
ALTER TABLE model_metrics DROP CONSTRAINT model_metrics_pkey;
CREATE UNIQUE INDEX model_metrics_key ON model_metrics (model_id, run_id, name, md5(dataset_name), md5(dataset_digest));

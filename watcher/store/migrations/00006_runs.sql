-- +goose Up
-- What is learned from: which queries are alike (0: not known), when a run began
-- by our clock (0: not known), how long it took, how late its end was seen,
-- what was unusual about it, and whether it has been announced that it would likely become overdue.
ALTER TABLE jobs ADD COLUMN shape BIGINT NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN started_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN took_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN delay_ms BIGINT;
ALTER TABLE jobs ADD COLUMN warned INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN anomaly TEXT NOT NULL DEFAULT '';
CREATE INDEX jobs_runs ON jobs (tenant, shape, detected_at) WHERE state = 'finished' AND shape <> 0;

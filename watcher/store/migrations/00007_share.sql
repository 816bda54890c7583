-- +goose Up
-- How many jobs each replica watches, as of its last heartbeat: by this the
-- others know their fair share without counting the jobs.
ALTER TABLE replicas ADD COLUMN jobs BIGINT NOT NULL DEFAULT 0;

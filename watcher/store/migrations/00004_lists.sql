-- +goose Up
-- The list of watched jobs, newest first, without walking those that have ended.
CREATE INDEX jobs_watched ON jobs (tenant, tracked_at, id) WHERE state = 'watching';

-- What a job owes, asked for by job alone or with its tenant.
DROP INDEX deliveries_job;
CREATE INDEX deliveries_job ON deliveries (job_id, tenant);

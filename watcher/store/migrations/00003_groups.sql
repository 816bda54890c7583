-- +goose Up
-- Groups of jobs that are announced together. A round is one such set: jobs that
-- join after a round has been announced begin the next one.
CREATE TABLE job_groups (
  tenant       TEXT NOT NULL,
  name         TEXT NOT NULL,
  round        BIGINT NOT NULL,
  founder      TEXT NOT NULL,
  announced_at BIGINT NOT NULL,
  destinations TEXT NOT NULL,
  PRIMARY KEY (tenant, name)
);
CREATE TABLE group_jobs (
  tenant  TEXT NOT NULL,
  job_id  TEXT NOT NULL,
  name    TEXT NOT NULL,
  round   BIGINT NOT NULL,
  outcome TEXT NOT NULL,
  PRIMARY KEY (tenant, job_id)
);
CREATE INDEX group_jobs_round ON group_jobs (tenant, name, round, outcome);

-- Groups from before are announced if some of their jobs go on.
INSERT INTO group_jobs (tenant, job_id, name, round, outcome)
  SELECT tenant, id, group_name, 1, outcome FROM jobs WHERE group_name <> '';
INSERT INTO job_groups (tenant, name, round, founder, announced_at, destinations)
  SELECT tenant, group_name, 1, min(id), CASE WHEN sum(CASE WHEN state = 'watching' THEN 1 ELSE 0 END) > 0 THEN 0 ELSE 1 END, '[]'
  FROM jobs WHERE group_name <> '' GROUP BY tenant, group_name;

-- Events that are about no job are deleted by age.
CREATE INDEX events_jobless ON events (created_at) WHERE job_id = '';

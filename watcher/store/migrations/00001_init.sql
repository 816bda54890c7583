-- +goose Up
CREATE TABLE replicas (
  id           TEXT PRIMARY KEY,
  holder       TEXT NOT NULL,
  host         TEXT NOT NULL,
  version      TEXT NOT NULL,
  started_at   BIGINT NOT NULL,
  heartbeat_at BIGINT NOT NULL
);
CREATE INDEX replicas_holder ON replicas (holder);

CREATE TABLE jobs (
  tenant            TEXT NOT NULL,
  id                TEXT NOT NULL,
  state             TEXT NOT NULL,
  owner             TEXT NOT NULL,
  status            TEXT NOT NULL,
  status_since      BIGINT NOT NULL,
  tracked_at        BIGINT NOT NULL,
  deadline_at       BIGINT NOT NULL,
  abandon_at        BIGINT NOT NULL,
  next_poll_at      BIGINT NOT NULL,
  interval_ms       BIGINT NOT NULL,
  polls             BIGINT NOT NULL,
  overdue           INTEGER NOT NULL,
  outcome           TEXT NOT NULL,
  source            TEXT NOT NULL,
  group_name        TEXT NOT NULL,
  finished_at       BIGINT NOT NULL,
  detected_at       BIGINT NOT NULL,
  updated_at        BIGINT NOT NULL,
  output_rows       BIGINT,
  processing_ms     BIGINT,
  remaining_retries BIGINT,
  source_data       TEXT NOT NULL,
  created_by        TEXT NOT NULL,
  error             TEXT NOT NULL,
  labels            TEXT NOT NULL,
  destinations      TEXT NOT NULL,
  history           TEXT NOT NULL,
  data_file         TEXT NOT NULL,
  query             TEXT NOT NULL,
  PRIMARY KEY (tenant, id)
);
CREATE INDEX jobs_watching ON jobs (owner, tenant, id) WHERE state = 'watching';
CREATE INDEX jobs_listed ON jobs (tenant, tracked_at, id);
CREATE INDEX jobs_finished ON jobs (detected_at) WHERE state = 'finished';

CREATE TABLE events (
  id         TEXT PRIMARY KEY,
  type       TEXT NOT NULL,
  tenant     TEXT NOT NULL,
  subject    TEXT NOT NULL,
  job_id     TEXT NOT NULL,
  time       BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  data       TEXT NOT NULL
);
CREATE INDEX events_job ON events (tenant, job_id);

CREATE TABLE destinations (
  name       TEXT PRIMARY KEY,
  paused     INTEGER NOT NULL,
  paused_by  TEXT NOT NULL,
  paused_at  BIGINT NOT NULL,
  not_before BIGINT NOT NULL,
  failures   BIGINT NOT NULL
);

CREATE TABLE deliveries (
  id              TEXT PRIMARY KEY,
  event_id        TEXT NOT NULL,
  event_type      TEXT NOT NULL,
  tenant          TEXT NOT NULL,
  job_id          TEXT NOT NULL,
  destination     TEXT NOT NULL,
  state           TEXT NOT NULL,
  owner           TEXT NOT NULL,
  tries           BIGINT NOT NULL,
  attempts        BIGINT NOT NULL,
  created_at      BIGINT NOT NULL,
  next_attempt_at BIGINT NOT NULL,
  settled_at      BIGINT NOT NULL
);
CREATE INDEX deliveries_due ON deliveries (destination, next_attempt_at) WHERE state = 'pending';
CREATE INDEX deliveries_sending ON deliveries (owner) WHERE state = 'sending';
CREATE INDEX deliveries_open ON deliveries (destination, state, created_at) WHERE state <> 'delivered';
CREATE INDEX deliveries_job ON deliveries (tenant, job_id);
CREATE INDEX deliveries_event ON deliveries (event_id);
CREATE INDEX deliveries_listed ON deliveries (created_at, id);

CREATE TABLE attempts (
  delivery_id TEXT NOT NULL,
  n           BIGINT NOT NULL,
  at          BIGINT NOT NULL,
  took_us     BIGINT NOT NULL,
  code        BIGINT NOT NULL,
  reason      TEXT NOT NULL,
  answer      TEXT NOT NULL,
  signed_by   TEXT NOT NULL,
  next_at     BIGINT NOT NULL,
  PRIMARY KEY (delivery_id, n)
);

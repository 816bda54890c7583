-- +goose Up
-- What has been spent of the tenant's rate-limit windows: a row for each,
-- written once a minute while anything is spent.
CREATE TABLE budget (
  tenant     TEXT NOT NULL,
  span_ms    BIGINT NOT NULL,
  level      DOUBLE PRECISION NOT NULL,
  spent      BIGINT NOT NULL,
  since      BIGINT NOT NULL,
  written_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, span_ms)
);

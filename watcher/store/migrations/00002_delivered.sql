-- +goose Up
-- How many deliveries of each destination are delivered: a scrape must not walk
-- the history to know.
CREATE TABLE delivered (
  destination TEXT PRIMARY KEY,
  n           BIGINT NOT NULL
);
INSERT INTO delivered (destination, n)
  SELECT destination, count(*) FROM deliveries WHERE state = 'delivered' GROUP BY destination;

-- +goose Up
-- Which processes work on a shared PostgreSQL: each counts its beats, so that the
-- others see when one has died and take over the jobs that it left running.
CREATE TABLE work_nodes (
  id   TEXT PRIMARY KEY,
  beat BIGINT NOT NULL
);

-- +goose Down
DROP TABLE work_nodes;

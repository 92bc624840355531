-- +goose Up
-- The sweep of an installation's repositories that began last. repositories is 0
-- until they are listed.
CREATE TABLE sweeps (
  installation BIGINT PRIMARY KEY,
  reference    TEXT NOT NULL,
  began_at     BIGINT NOT NULL,
  repositories BIGINT NOT NULL DEFAULT 0
);

-- What the last look at a repository leaves for the next one; nothing of what was
-- found.
CREATE TABLE swept (
  repository   BIGINT PRIMARY KEY,
  installation BIGINT NOT NULL,
  reference    TEXT NOT NULL,
  known        TEXT NOT NULL,
  at           BIGINT NOT NULL
);

-- +goose Down
DROP TABLE swept;
DROP TABLE sweeps;

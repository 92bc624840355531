-- +goose Up
CREATE TABLE deliveries (
  guid         TEXT PRIMARY KEY,
  event        TEXT NOT NULL,
  action       TEXT NOT NULL,
  body_sha256  TEXT NOT NULL UNIQUE,
  installation BIGINT NOT NULL,
  repository   TEXT NOT NULL,
  source_ip    TEXT NOT NULL,
  payload      TEXT NOT NULL,
  received_at  BIGINT NOT NULL,
  state        TEXT NOT NULL CHECK (state IN ('stored', 'running', 'done', 'parked')),
  attempts     BIGINT NOT NULL DEFAULT 0,
  done_at      BIGINT NOT NULL DEFAULT 0,
  error        TEXT NOT NULL DEFAULT ''
);
CREATE INDEX deliveries_received ON deliveries (received_at);

CREATE TABLE installations (
  id          BIGINT PRIMARY KEY,
  account     TEXT NOT NULL,
  state       TEXT NOT NULL,
  permissions TEXT NOT NULL,
  updated_at  BIGINT NOT NULL
);

CREATE TABLE repositories (
  id             BIGINT PRIMARY KEY,
  full_name      TEXT NOT NULL,
  installation   BIGINT NOT NULL,
  visibility     TEXT NOT NULL,
  default_branch TEXT NOT NULL,
  last_push_at   BIGINT NOT NULL DEFAULT 0,
  last_scan_at   BIGINT NOT NULL DEFAULT 0,
  updated_at     BIGINT NOT NULL
);
CREATE INDEX repositories_name ON repositories (full_name);

CREATE TABLE scans (
  id          TEXT PRIMARY KEY,
  delivery    TEXT NOT NULL,
  kind        TEXT NOT NULL,
  repository  TEXT NOT NULL,
  ref         TEXT NOT NULL,
  before_id   TEXT NOT NULL,
  after_id    TEXT NOT NULL,
  partial     SMALLINT NOT NULL,
  reasons     TEXT NOT NULL,
  commits     BIGINT NOT NULL,
  blobs       BIGINT NOT NULL,
  bytes       BIGINT NOT NULL,
  findings    BIGINT NOT NULL,
  suppressed  BIGINT NOT NULL,
  started_at  BIGINT NOT NULL,
  done_at     BIGINT NOT NULL
);
CREATE INDEX scans_repository ON scans (repository, done_at);

CREATE TABLE incidents (
  id           TEXT PRIMARY KEY,
  fingerprint  TEXT NOT NULL UNIQUE,
  provider     TEXT NOT NULL,
  kind         TEXT NOT NULL,
  public_id    TEXT NOT NULL,
  account      TEXT NOT NULL,
  title        TEXT NOT NULL,
  severity     TEXT NOT NULL,
  severity_why TEXT NOT NULL,
  state        TEXT NOT NULL,
  mode         TEXT NOT NULL,
  round        BIGINT NOT NULL,
  verdict      TEXT NOT NULL DEFAULT '',
  verdict_why  TEXT NOT NULL DEFAULT '',
  class        TEXT NOT NULL,
  confidence   TEXT NOT NULL,
  facts        TEXT NOT NULL DEFAULT '{}',
  reference    TEXT NOT NULL,
  exposed_at   BIGINT NOT NULL,
  exposed_from TEXT NOT NULL,
  received_at  BIGINT NOT NULL,
  opened_at    BIGINT NOT NULL,
  verdict_at   BIGINT NOT NULL DEFAULT 0,
  contained_at BIGINT NOT NULL DEFAULT 0,
  proved_at    BIGINT NOT NULL DEFAULT 0,
  aware_at     BIGINT NOT NULL DEFAULT 0,
  closed_at    BIGINT NOT NULL DEFAULT 0,
  updated_at   BIGINT NOT NULL
);
CREATE INDEX incidents_opened ON incidents (opened_at);
CREATE INDEX incidents_state ON incidents (state);

-- The sealed credential, while a step still needs it. Deleting the row shreds it.
CREATE TABLE incident_secrets (
  incident_id TEXT PRIMARY KEY REFERENCES incidents (id) ON DELETE CASCADE,
  wrapped_key BYTEA NOT NULL,
  ciphertext  BYTEA NOT NULL,
  sealed_at   BIGINT NOT NULL
);

CREATE TABLE sightings (
  incident_id  TEXT NOT NULL REFERENCES incidents (id) ON DELETE CASCADE,
  seq          BIGINT NOT NULL,
  repository   TEXT NOT NULL,
  visibility   TEXT NOT NULL,
  ref          TEXT NOT NULL,
  commit_id    TEXT NOT NULL,
  path         TEXT NOT NULL,
  object       TEXT NOT NULL,
  line         BIGINT NOT NULL,
  col          BIGINT NOT NULL,
  rule         TEXT NOT NULL,
  part         TEXT NOT NULL,
  author       TEXT NOT NULL,
  author_email TEXT NOT NULL,
  committer    TEXT NOT NULL,
  pusher       TEXT NOT NULL,
  authored_at  BIGINT NOT NULL,
  committed_at BIGINT NOT NULL,
  exposed_at   BIGINT NOT NULL,
  exposed_from TEXT NOT NULL,
  delivery     TEXT NOT NULL,
  removed      SMALLINT NOT NULL,
  seen_at      BIGINT NOT NULL,
  PRIMARY KEY (incident_id, seq),
  UNIQUE (incident_id, repository, commit_id, path, object, line, col, part)
);

CREATE TABLE incident_states (
  incident_id TEXT NOT NULL REFERENCES incidents (id) ON DELETE CASCADE,
  seq         BIGINT NOT NULL,
  state       TEXT NOT NULL,
  at          BIGINT NOT NULL,
  reason      TEXT NOT NULL,
  PRIMARY KEY (incident_id, seq)
);

CREATE TABLE steps (
  incident_id TEXT NOT NULL REFERENCES incidents (id) ON DELETE CASCADE,
  round       BIGINT NOT NULL,
  name        TEXT NOT NULL,
  state       TEXT NOT NULL CHECK (state IN ('running', 'done', 'failed', 'waiting', 'skipped')),
  attempts    BIGINT NOT NULL,
  started_at  BIGINT NOT NULL,
  done_at     BIGINT NOT NULL DEFAULT 0,
  result      TEXT NOT NULL DEFAULT '',
  error       TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (incident_id, round, name)
);
CREATE INDEX steps_started ON steps (name, started_at);

CREATE TABLE actions (
  incident_id TEXT NOT NULL REFERENCES incidents (id) ON DELETE CASCADE,
  round       BIGINT NOT NULL,
  name        TEXT NOT NULL,
  state       TEXT NOT NULL,
  actor       TEXT NOT NULL,
  done_with   TEXT NOT NULL,
  binding     TEXT NOT NULL,
  reversible  SMALLINT NOT NULL,
  collateral  TEXT NOT NULL,
  account     TEXT NOT NULL,
  at          BIGINT NOT NULL,
  detail      TEXT NOT NULL,
  requests    TEXT NOT NULL,
  undo        TEXT NOT NULL,
  undone_at   BIGINT NOT NULL DEFAULT 0,
  undone_by   TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (incident_id, round, name)
);
CREATE INDEX actions_at ON actions (account, at);

CREATE TABLE approvals (
  id          TEXT PRIMARY KEY,
  incident_id TEXT NOT NULL REFERENCES incidents (id) ON DELETE CASCADE,
  round       BIGINT NOT NULL,
  plan        TEXT NOT NULL,
  asked_at    BIGINT NOT NULL,
  expires_at  BIGINT NOT NULL,
  decision    TEXT NOT NULL DEFAULT '',
  decided_by  TEXT NOT NULL DEFAULT '',
  decided_at  BIGINT NOT NULL DEFAULT 0,
  reason      TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX approvals_open ON approvals (incident_id) WHERE decision = '';

CREATE TABLE trail_events (
  incident_id TEXT NOT NULL REFERENCES incidents (id) ON DELETE CASCADE,
  source      TEXT NOT NULL,
  event_id    TEXT NOT NULL,
  at          BIGINT NOT NULL,
  data        TEXT NOT NULL,
  PRIMARY KEY (incident_id, source, event_id)
);

CREATE TABLE trail_cursors (
  incident_id TEXT NOT NULL REFERENCES incidents (id) ON DELETE CASCADE,
  source      TEXT NOT NULL,
  cursor_data TEXT NOT NULL,
  PRIMARY KEY (incident_id, source)
);

CREATE TABLE trail_coverage (
  incident_id TEXT NOT NULL REFERENCES incidents (id) ON DELETE CASCADE,
  source      TEXT NOT NULL,
  scope       TEXT NOT NULL,
  data        TEXT NOT NULL,
  PRIMARY KEY (incident_id, source, scope)
);

CREATE TABLE reports (
  incident_id TEXT NOT NULL REFERENCES incidents (id) ON DELETE CASCADE,
  version     BIGINT NOT NULL,
  created_at  BIGINT NOT NULL,
  final       SMALLINT NOT NULL,
  sha256      TEXT NOT NULL,
  evidence    TEXT NOT NULL,
  data        TEXT NOT NULL,
  PRIMARY KEY (incident_id, version)
);

-- The ledger: leaves, the Merkle tree's stored hashes, signed checkpoints.
CREATE TABLE ledger_entries (
  idx  BIGINT PRIMARY KEY,
  at   BIGINT NOT NULL,
  data BYTEA NOT NULL
);
CREATE TABLE ledger_hashes (
  idx  BIGINT PRIMARY KEY,
  hash BYTEA NOT NULL
);
-- Which entries speak of which incident, so that a report can name them.
CREATE TABLE ledger_incidents (
  incident_id TEXT NOT NULL,
  idx         BIGINT NOT NULL,
  PRIMARY KEY (incident_id, idx)
);
CREATE TABLE ledger_checkpoints (
  size BIGINT PRIMARY KEY,
  at   BIGINT NOT NULL,
  note TEXT NOT NULL
);

-- +goose Down
DROP TABLE ledger_checkpoints;
DROP TABLE ledger_hashes;
DROP TABLE ledger_incidents;
DROP TABLE ledger_entries;
DROP TABLE reports;
DROP TABLE trail_coverage;
DROP TABLE trail_cursors;
DROP TABLE trail_events;
DROP TABLE approvals;
DROP TABLE actions;
DROP TABLE steps;
DROP TABLE incident_states;
DROP TABLE sightings;
DROP TABLE incident_secrets;
DROP TABLE incidents;
DROP TABLE scans;
DROP TABLE repositories;
DROP TABLE installations;
DROP TABLE deliveries;

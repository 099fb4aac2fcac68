#!/bin/bash
# The database's logins, made when the server starts for the first time. Each process logs in with rights of its own alone:
# the owner changes the schema (broker migrate), web serves requests, log writes the tamper-evident log.
set -euo pipefail

password() { cat "${SECRETS:-/run/secrets}/postgres_$1"; }

psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
  --set owner="$(password owner)" --set web="$(password web)" --set log="$(password log)" <<'SQL'
CREATE ROLE broker_web NOLOGIN;
CREATE ROLE broker_log NOLOGIN;
CREATE ROLE broker_owner_login LOGIN PASSWORD :'owner';
CREATE ROLE broker_web_login LOGIN PASSWORD :'web' IN ROLE broker_web;
CREATE ROLE broker_log_login LOGIN PASSWORD :'log' IN ROLE broker_log;
-- The first migration grants the two roles to the owner, so that one login can try everything out; it needs the right to.
GRANT broker_web, broker_log TO broker_owner_login WITH ADMIN OPTION;
SELECT format('ALTER DATABASE %I OWNER TO broker_owner_login', current_database()) \gexec
REVOKE CONNECT, TEMPORARY ON DATABASE broker FROM PUBLIC;
GRANT CONNECT ON DATABASE broker TO broker_web, broker_log;
SQL

#!/bin/bash
# Of the official image's contract: POSTGRES_USER, POSTGRES_PASSWORD (or …_FILE), POSTGRES_DB, POSTGRES_INITDB_ARGS, PGDATA, "postgres -c name=value".
set -euo pipefail
[ "${1#-}" = "$1" ] || set -- postgres "$@"
[ "$1" = postgres ] || exec "$@"
as_postgres() { setpriv --reuid=postgres --regid=postgres --init-groups "$@"; }
user=${POSTGRES_USER:-postgres}
database=${POSTGRES_DB:-$user}
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  password=${POSTGRES_PASSWORD:-}
  [ -z "${POSTGRES_PASSWORD_FILE:-}" ] || password=$(cat "$POSTGRES_PASSWORD_FILE")
  [ -n "$password" ] || { echo "error: set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE" >&2; exit 1; }
  install -d -o postgres -g postgres -m 700 "$(dirname "$PGDATA")" "$PGDATA"
  passwords=$(mktemp)
  printf '%s\n' "$password" >"$passwords"
  chown postgres "$passwords"
  # shellcheck disable=SC2086 - several options in one variable
  as_postgres initdb --pgdata="$PGDATA" --username="$user" --pwfile="$passwords" --auth-host=scram-sha-256 --auth-local=trust \
    --encoding=UTF8 --no-sync ${POSTGRES_INITDB_ARGS:---locale=C} >/dev/null
  rm "$passwords"
  echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
  printf "listen_addresses = '*'\nunix_socket_directories = '/var/run/postgresql'\n" >>"$PGDATA/postgresql.conf"
  if [ "$database" != postgres ]; then
    # On the socket alone: whoever waits on TCP must see the final server only.
    as_postgres pg_ctl --pgdata="$PGDATA" --options="-c listen_addresses=''" --wait start >/dev/null
    as_postgres psql --quiet --host=/var/run/postgresql --username="$user" --dbname=postgres --set=ON_ERROR_STOP=1 \
      --command="create database \"$database\""
    as_postgres pg_ctl --pgdata="$PGDATA" --mode=fast --wait stop >/dev/null
  fi
  echo "PostgreSQL init process complete; ready for start up."
fi
exec setpriv --reuid=postgres --regid=postgres --init-groups "$@"

#!/bin/sh
# What the official image's entry point does with the settings that compose.yaml gives it.
set -eu
if [ ! -f "$PGDATA/PG_VERSION" ]; then
  initdb -D "$PGDATA" -U "$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" --auth=scram-sha-256 --encoding=UTF8 --locale=C
  echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
  echo "CREATE DATABASE $POSTGRES_DB" | postgres --single -D "$PGDATA" postgres
fi
rm -f "$PGDATA/postmaster.pid" # of a container that was killed
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp

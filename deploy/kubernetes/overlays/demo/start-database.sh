# Makes the database at the first start: an unprivileged role that owns it, as a real installation has. Then it is PostgreSQL.
set -euo pipefail
PATH=$PATH:/usr/lib/postgresql/15/bin
# The volume may be group-writable (fsGroup); PostgreSQL's own directory may not.
umask 077
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  rm -rf "$PGDATA.new"
  initdb -D "$PGDATA.new" -U postgres -E UTF8 --locale=C.UTF-8 --auth-local=peer --auth-host=scram-sha-256 >/dev/null
  echo "host all all all scram-sha-256" >>"$PGDATA.new/pg_hba.conf"
  password=$(cat /run/secrets/database/password)
  postgres --single -D "$PGDATA.new" postgres >/dev/null <<SQL
CREATE ROLE mailherd LOGIN PASSWORD '$password'
CREATE DATABASE mailherd OWNER mailherd
SQL
  mv "$PGDATA.new" "$PGDATA"
fi
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp -c shared_buffers=128MB -c max_connections=200

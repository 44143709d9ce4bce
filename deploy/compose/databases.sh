#!/usr/bin/env bash
# Run once by the image of PostgreSQL, when its volume is empty: a user and a database for each of the two.
set -euo pipefail
for name in label_studio xner_label; do
  variable="${name^^}_DATABASE_PASSWORD_FILE"
  psql --set ON_ERROR_STOP=1 --set name="$name" --set password="$(cat "${!variable}")" \
    --username "${POSTGRES_USER:-postgres}" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name" ENCODING 'UTF8' TEMPLATE template0;
SQL
done

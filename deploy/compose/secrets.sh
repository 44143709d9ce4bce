#!/usr/bin/env bash
# Makes the secrets of compose.yaml in ./secrets and ./.env, where they aren't there yet. Shows none.
# Label Studio's token is the only one that a person brings: secrets/label_studio_token.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
umask 077
mkdir -p secrets
for name in database_password label_studio_database_password xner_label_database_password backend_password \
            webhook_secret; do
  [ -s "secrets/$name" ] || python3 -c 'import secrets; print(secrets.token_hex(24), end="")' >"secrets/$name"
done
printf 'postgresql://xner_label:%s@database/xner_label' "$(cat secrets/xner_label_database_password)" \
  >secrets/database_url
[ -e secrets/label_studio_token ] || : >secrets/label_studio_token
printf 'LABEL_STUDIO_DATABASE_PASSWORD=%s\n' "$(cat secrets/label_studio_database_password)" >.env
# containers read them as another user, whose number is 10001; nobody else gets into the folder
chmod 0444 secrets/*

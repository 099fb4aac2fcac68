#!/usr/bin/env bash
# Makes the secrets that docker-compose.yml mounts, once, under deploy/secrets: passwords of the database's logins, the URLs that
# hold them, and the broker's four keys. A second run changes nothing.
#
# The folder is mode 0700, so that nobody else on this machine reaches the files; the files are mode 0444, because Compose mounts
# them with their mode and the broker's user in the container is nobody's user here.
set -euo pipefail
umask 077
folder="$(cd "$(dirname "$0")" && pwd)/secrets"
mkdir -p "$folder"
chmod 0700 "$folder"

# keep FILE COMMAND…: what the command prints, kept from the first time on. A key that changed would make everything encrypted with
# it unreadable.
keep() {
  local file="$folder/$1" draft
  shift
  if [ -e "$file" ]; then return; fi
  draft="$(mktemp "$folder/.draft.XXXXXX")"
  "$@" >"$draft"
  chmod 0444 "$draft"
  mv "$draft" "$file"
}

for login in superuser owner web log; do
  keep "postgres_$login" openssl rand -hex 24
done
for login in owner web log; do
  keep "database_url_$login" printf 'postgresql://broker_%s_login:%s@postgres:5432/broker' "$login" "$(cat "$folder/postgres_$login")"
done
# Behind the blinded names of patients; it stays for ever, the key-encryption key may change. An installation from before they were two keeps one.
if [ -e "$folder/key_encryption_key" ]; then keep blinding_key cat "$folder/key_encryption_key"; fi
keep blinding_key openssl rand -hex 32
keep key_encryption_key openssl rand -hex 32
keep token_signing_key openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256
keep log_signing_key openssl genpkey -quiet -algorithm ED25519
keep bundle_signing_key openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256
keep bundle_public_key openssl pkey -in "$folder/bundle_signing_key" -pubout
keep opa_control_token openssl rand -hex 32

echo "Secrets are in $folder. Back up key_encryption_key and blinding_key apart from the database: without them no patient's data can be read again."

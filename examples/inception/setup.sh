#!/bin/sh
# Makes what the stack needs and Git must not hold: .env, the passwords, and the data directories.
# Existing files are left alone.
set -eu
cd "$(dirname "$0")"
umask 077
[ -e .env ] || cp .env.example .env
mkdir -p secrets
for name in db_password db_root_password wp_owner_password wp_user_password ftp_password; do
    [ -s "secrets/$name.txt" ] || head -c 24 /dev/urandom | base64 | tr '+/' 'xy' >"secrets/$name.txt"
done
umask 022
# Compose reads values with spaces where a shell would run them, so this looks at the one line it needs.
data=$(eval "$(grep '^DATA_DIR=' .env)" && printf %s "$DATA_DIR")
mkdir -p "$data/database" "$data/site"

# A database keeps the passwords it was made with.
if [ -e "$data/database/.inception-ready" ] && [ "$data/database/.inception-ready" -ot secrets/db_password.txt ]; then
    echo "setup.sh: $data has the data of a stack with other passwords than those in secrets/: put its secrets back, or" >&2
    echo "          remove $data, or name another directory as DATA_DIR in examples/inception/.env" >&2
    exit 1
fi

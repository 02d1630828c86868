#!/bin/sh
# Hands the settings to the job, which cron starts with an empty environment, then becomes cron.
set -eu
umask 077
printf 'DB_NAME=%s\nDB_USER=%s\n' "$DB_NAME" "$DB_USER" >/etc/backup.env
exec "$@"

#!/bin/sh
# Writes one dump of the database and one archive of the site's files, and keeps the last seven of each.
set -eu
. /etc/backup.env
stamp=$(date -u +%Y%m%dT%H%M%SZ)
cd /backups
MYSQL_PWD=$(cat /run/secrets/db_password) mariadb-dump --host=mariadb --user="$DB_USER" --single-transaction \
    --result-file="database-$stamp.sql.new" "$DB_NAME"
gzip <"database-$stamp.sql.new" >"database-$stamp.sql.gz.new"
mv "database-$stamp.sql.gz.new" "database-$stamp.sql.gz"
tar -C /var/www/html -czf "site-$stamp.tar.gz.new" .
mv "site-$stamp.tar.gz.new" "site-$stamp.tar.gz"
rm -f -- *.new
for kind in database site; do
    ls -1 "$kind"-*.gz | head -n -7 | xargs -r rm --
done
echo "backup $stamp written"

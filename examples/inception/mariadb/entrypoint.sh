#!/bin/sh
# Creates the database at the first start, then becomes the server.
set -eu

datadir=/var/lib/mysql
marker=$datadir/.inception-ready

# An SQL string literal of $1.
quote() {
    printf "'%s'" "$(printf %s "$1" | sed -e 's/\\/\\\\/g' -e "s/'/''/g")"
}

if [ ! -e "$marker" ]; then
    # A first start that was cut short left a half-made database: begin again.
    find "$datadir" -mindepth 1 -delete
    chown mysql:mysql "$datadir"
    mariadb-install-db --user=mysql --datadir="$datadir" --skip-test-db \
        --auth-root-authentication-method=socket >/dev/null

    # --bootstrap reads statements from standard input and serves nobody, so the healthcheck cannot pass too early.
    user="$(quote "$DB_USER")@'%'"
    mariadbd --user=mysql --bootstrap <<SQL
FLUSH PRIVILEGES;
CREATE DATABASE IF NOT EXISTS \`$DB_NAME\` CHARACTER SET utf8mb4;
CREATE USER $user IDENTIFIED BY $(quote "$(cat /run/secrets/db_password)");
GRANT ALL PRIVILEGES ON \`$DB_NAME\`.* TO $user;
CREATE USER healthcheck@'127.0.0.1';
ALTER USER root@localhost IDENTIFIED VIA unix_socket OR mysql_native_password
    USING PASSWORD($(quote "$(cat /run/secrets/db_root_password)"));
SQL
    touch "$marker"
fi

exec "$@"

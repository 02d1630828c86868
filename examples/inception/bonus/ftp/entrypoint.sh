#!/bin/sh
# Makes the FTP user, who shares the web server's files, then becomes vsftpd.
set -eu

if ! id "$FTP_USER" >/dev/null 2>&1; then
    # Same uid as www-data: what is uploaded belongs to the site.
    useradd --non-unique --uid "$(id -u www-data)" --gid www-data \
        --home-dir /var/www/html --no-create-home --shell /usr/sbin/nologin "$FTP_USER" 2>/dev/null
fi
printf '%s:%s\n' "$FTP_USER" "$(cat /run/secrets/ftp_password)" | chpasswd

exec "$@" "-opasv_address=$FTP_ADDRESS"

#!/bin/sh
# Installs the site at the first start, then becomes php-fpm.
set -eu

# Secrets are files only root may read; php-fpm's workers get them through the environment.
DB_PASSWORD=$(cat /run/secrets/db_password)
WP_OWNER_PASSWORD=$(cat /run/secrets/wp_owner_password)
WP_USER_PASSWORD=$(cat /run/secrets/wp_user_password)
export DB_PASSWORD

case $WP_OWNER in
*[aA][dD][mM][iI][nN]*) echo "WP_OWNER must not contain \"admin\": $WP_OWNER" >&2; exit 1 ;;
esac

if [ ! -e wp-load.php ]; then
    # Debian's package spreads WordPress over symbolic links; the web server in the other container needs real files.
    cp -RL /usr/share/wordpress/. .
    chown -R www-data:www-data .
fi
install -o www-data -g www-data -m 0644 /usr/local/share/inception/wp-config.php wp-config.php
install -o www-data -g www-data -m 0644 /usr/local/share/inception/object-cache.php wp-content/object-cache.php
[ -e wp-salts.php ] || {
    {
        echo '<?php'
        for key in AUTH_KEY SECURE_AUTH_KEY LOGGED_IN_KEY NONCE_KEY AUTH_SALT SECURE_AUTH_SALT LOGGED_IN_SALT NONCE_SALT; do
            echo "define('$key', '$(head -c 48 /dev/urandom | base64 -w 0)');"
        done
    } >wp-salts.php.new
    chown www-data:www-data wp-salts.php.new
    chmod 0600 wp-salts.php.new
    mv wp-salts.php.new wp-salts.php
}
WP_OWNER_PASSWORD=$WP_OWNER_PASSWORD WP_USER_PASSWORD=$WP_USER_PASSWORD php /usr/local/share/inception/install.php

exec "$@"

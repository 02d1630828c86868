#!/bin/sh
# Asks php-fpm for its ping page; fails unless it answers "pong".
SCRIPT_NAME=/ping SCRIPT_FILENAME=/ping REQUEST_METHOD=GET cgi-fcgi -bind -connect 127.0.0.1:9000 | grep -q pong

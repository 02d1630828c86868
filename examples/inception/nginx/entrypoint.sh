#!/bin/sh
# Makes a self-signed certificate at the first start, then becomes nginx.
set -eu

tls=/etc/nginx/tls
if [ ! -e "$tls/certificate.pem" ]; then
    mkdir -p "$tls"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 \
        -subj "/CN=$DOMAIN_NAME" -addext "subjectAltName=DNS:$DOMAIN_NAME,DNS:localhost,IP:127.0.0.1" \
        -keyout "$tls/key.pem" -out "$tls/certificate.pem.new" 2>/dev/null
    mv "$tls/certificate.pem.new" "$tls/certificate.pem"
fi

exec "$@"

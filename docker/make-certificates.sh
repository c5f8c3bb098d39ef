#!/bin/sh
# Makes a certificate authority, and certificates of it for KurrentDB and Postgres, in
# ./certificates, where docker-compose.yml looks for them. For a trial: if you have an authority, use
# its certificates instead.
#
#   certificates/ca/ca.crt      the authority, which KurrentDB and the services trust
#   certificates/node/node.crt  the certificate of KurrentDB, with its key node.key, which the user
#                               of KurrentDB (1000) must be able to read
#   certificates/postgres/      the same for Postgres, whose user (999) must own server.key
#   certificates/sign-on/       a key for tokens: `allocation-ledger token --key-file private.pem`
#                               signs with it, and the services know public.pem
set -eu

if [ -e certificates ]; then
    echo "certificates/ is there already: remove it first" >&2
    exit 1
fi
umask 077
mkdir -p certificates/ca certificates/node certificates/postgres certificates/sign-on
key=$(mktemp)
trap 'rm -f "$key"' EXIT

openssl req -x509 -newkey rsa:3072 -noenc -days 3650 -subj '/O=allocation ledger/CN=authority' \
    -addext 'basicConstraints=critical,CA:TRUE' -addext 'keyUsage=critical,keyCertSign,cRLSign' \
    -keyout "$key" -out certificates/ca/ca.crt
# A certificate in a directory, for a name and the host of that name in the network of the containers.
certificate() {
    openssl req -newkey rsa:3072 -noenc -subj "/CN=$2" -keyout "certificates/$1.key" -out "certificates/$1.csr"
    printf '%s\n' "subjectAltName=DNS:$3,DNS:localhost,IP:127.0.0.1" 'basicConstraints=CA:FALSE' \
        'keyUsage=critical,digitalSignature,keyEncipherment' 'extendedKeyUsage=serverAuth,clientAuth' |
        openssl x509 -req -in "certificates/$1.csr" -CA certificates/ca/ca.crt -CAkey "$key" -days 730 \
            -extfile /dev/stdin -out "certificates/$1.crt"
    rm "certificates/$1.csr"
}
# KurrentDB recognises its own nodes by this name.
certificate node/node eventstoredb-node kurrentdb
certificate postgres/server postgres postgres
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out certificates/sign-on/private.pem
openssl pkey -in certificates/sign-on/private.pem -pubout -out certificates/sign-on/public.pem
chmod 755 certificates certificates/ca certificates/node certificates/postgres certificates/sign-on
chmod 644 certificates/ca/ca.crt certificates/node/node.crt certificates/postgres/server.crt certificates/sign-on/public.pem
# The key of the authority is not kept: another node needs another run. Only the user of a server may
# read its key.
chown 1000:1000 certificates/node/node.key && chown 999:999 certificates/postgres/server.key ||
    echo "as root: chown 1000:1000 certificates/node/node.key && chown 999:999 certificates/postgres/server.key" >&2

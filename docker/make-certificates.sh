#!/bin/sh
# Makes a certificate authority, and a certificate of it for KurrentDB, in ./certificates, where
# docker-compose.yml looks for them. For a trial: if you have an authority, use its certificates
# instead.
#
#   certificates/ca/ca.crt      the authority, which KurrentDB and the services trust
#   certificates/node/node.crt  the certificate of KurrentDB, with its key node.key, which the user
#                               of KurrentDB (1000) must be able to read
#   certificates/sign-on/       a key for tokens: `allocation-ledger token --key-file private.pem`
#                               signs with it, and the services know public.pem
set -eu

if [ -e certificates ]; then
    echo "certificates/ is there already: remove it first" >&2
    exit 1
fi
umask 077
mkdir -p certificates/ca certificates/node certificates/sign-on
key=$(mktemp)
trap 'rm -f "$key"' EXIT

openssl req -x509 -newkey rsa:3072 -noenc -days 3650 -subj '/O=allocation ledger/CN=authority' \
    -addext 'basicConstraints=critical,CA:TRUE' -addext 'keyUsage=critical,keyCertSign,cRLSign' \
    -keyout "$key" -out certificates/ca/ca.crt
# KurrentDB recognises its own nodes by this name.
openssl req -newkey rsa:3072 -noenc -subj '/CN=eventstoredb-node' \
    -keyout certificates/node/node.key -out certificates/node/node.csr
printf '%s\n' 'subjectAltName=DNS:kurrentdb,DNS:localhost,IP:127.0.0.1' 'basicConstraints=CA:FALSE' \
    'keyUsage=critical,digitalSignature,keyEncipherment' 'extendedKeyUsage=serverAuth,clientAuth' |
    openssl x509 -req -in certificates/node/node.csr -CA certificates/ca/ca.crt -CAkey "$key" -days 730 \
        -extfile /dev/stdin -out certificates/node/node.crt
rm certificates/node/node.csr
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out certificates/sign-on/private.pem
openssl pkey -in certificates/sign-on/private.pem -pubout -out certificates/sign-on/public.pem
chmod 755 certificates certificates/ca certificates/node certificates/sign-on
chmod 644 certificates/ca/ca.crt certificates/node/node.crt certificates/sign-on/public.pem
# The key of the authority is not kept: another node needs another run. Only KurrentDB's user may
# read the key of the node.
chown 1000:1000 certificates/node/node.key ||
    echo "as root: chown 1000:1000 certificates/node/node.key" >&2

#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Makes a test CA and one certificate for each TLS case that mailhaul must pass or refuse.
#
#   certkit.sh DIR
#
# DIR/ca.crt is the root that the client under test trusts; DIR/<case>.crt (with the chain that the
# server sends) and DIR/<case>.key are for the server; DIR/cases.tsv lists certificate, host name to
# connect as, "pass" or "refuse", and why. Each certificate is in order but for the one thing that
# its case is about. Needs openssl 3.0. Keys are new each time; names, serials and cases are not.
set -eu

if [ $# -ne 1 ]; then
    echo "usage: certkit.sh DIR" >&2
    exit 2
fi
umask 077
mkdir -p "$1"
cd "$1"

# What a good certificate is valid for: in all others too, so that only the case can be the reason.
names='DNS:localhost,DNS:imap.eu.mailhaul.test,IP:127.0.0.1,IP:::1'
serial=1000

# run COMMAND…: openssl tells of each key on stderr; that is shown only when it fails.
run() {
    if ! "$@" 2> openssl.log; then
        cat openssl.log >&2
        echo "certkit.sh: failed: $*" >&2
        exit 1
    fi
}

# authority NAME COMMON-NAME: a self-signed root
authority() {
    run openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -sha256 -days 3650 \
        -config empty.cnf -subj "/CN=$2" -set_serial 1 -keyout "$1.key" -out "$1.crt" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign \
        -addext subjectKeyIdentifier=hash
}

# leaf NAME ISSUER SUBJECT ALT-NAMES [option…]: a server certificate; "" leaves the names out
leaf() {
    name=$1 issuer=$2 subject=$3 alt=$4
    shift 4
    serial=$((serial + 1))
    case " $* " in
    *' -newkey '*) ;;
    *) set -- -newkey ec -pkeyopt ec_paramgen_curve:P-256 "$@" ;;
    esac
    case " $* " in
    *' -sha1 '*) ;;
    *) set -- -sha256 "$@" ;;
    esac
    if [ -n "$issuer" ]; then
        set -- -CA "$issuer.crt" -CAkey "$issuer.key" "$@"
    fi
    if [ -n "$alt" ]; then
        set -- "$@" -addext "subjectAltName=$alt"
    fi
    run openssl req -x509 -noenc -days 3650 -config empty.cnf -subj "/CN=$subject" \
        -set_serial "$serial" -keyout "$name.key" -out "$name.crt" \
        -addext basicConstraints=critical,CA:FALSE -addext extendedKeyUsage=serverAuth "$@"
}

# dated NAME FROM TO: valid in another time (of openssl 3.0, only `openssl ca` sets both ends)
dated() {
    serial=$((serial + 1))
    run openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -sha256 \
        -config empty.cnf -subj "/CN=$1" -keyout "$1.key" -out "$1.csr"
    : > ca.index
    printf '%04x\n' "$serial" > ca.serial
    run openssl ca -batch -notext -config dated.cnf -in "$1.csr" -out "$1.crt" \
        -startdate "$2" -enddate "$3"
    rm -f "$1.csr" ca.index* ca.serial*
}

printf '[req]\ndistinguished_name = dn\n[dn]\n' > empty.cnf
cat > dated.cnf << CNF
[ca]
default_ca = kit
[kit]
database = ca.index
serial = ca.serial
new_certs_dir = .
certificate = ca.crt
private_key = ca.key
default_md = sha256
policy = any
x509_extensions = server
[any]
commonName = supplied
[server]
basicConstraints = critical,CA:FALSE
extendedKeyUsage = serverAuth
subjectAltName = $names
CNF

authority ca 'mailhaul test root'
authority unknown-ca 'mailhaul unknown root'
leaf good ca good "$names"
leaf wildcard ca wildcard 'DNS:*.eu.mailhaul.test'
leaf self-signed '' self-signed "$names"
leaf unknown-root unknown-ca unknown-root "$names"
leaf wrong-host ca wrong-host 'DNS:other.mailhaul.test'
dated expired 20010101000000Z 20020101000000Z
dated not-yet-valid 20900101000000Z 20910101000000Z
leaf cn-only ca localhost ''
leaf wildcard-two-levels ca wildcard-two-levels 'DNS:*.mailhaul.test'
leaf ip-mismatch ca ip-mismatch 'DNS:localhost,IP:127.0.0.2'
leaf ip-as-dns ca ip-as-dns 'DNS:127.0.0.1'
leaf sha1 ca sha1 "$names" -sha1
leaf rsa-1024 ca rsa-1024 "$names" -newkey rsa:1024
# dNSName "localhost<NUL>.evil.test": a comparison that stops at the NUL would let it pass.
leaf nul-in-name ca nul-in-name \
    'DER:30:16:82:14:6c:6f:63:61:6c:68:6f:73:74:00:2e:65:76:69:6c:2e:74:65:73:74'

# An intermediate CA: sent along it makes a good chain, left out it makes a broken one.
run openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -sha256 -days 3650 \
    -config empty.cnf -CA ca.crt -CAkey ca.key -subj '/CN=mailhaul test intermediate' \
    -set_serial 2 -keyout intermediate.key -out intermediate.crt \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
leaf missing-intermediate intermediate missing-intermediate "$names"
leaf chain intermediate chain "$names"
cat intermediate.crt >> chain.crt
# A server certificate that signs another, which basicConstraints forbids.
leaf no-ca ca no-ca "$names"
leaf issuer-no-ca no-ca issuer-no-ca "$names"
cat no-ca.crt >> issuer-no-ca.crt

rm -f openssl.log empty.cnf dated.cnf ./*.pem \
    intermediate.* unknown-ca.* no-ca.*

tr '|' '\t' > cases.tsv << CASES
good|localhost|pass|
good|imap.eu.mailhaul.test|pass|
good|127.0.0.1|pass|
wildcard|imap.eu.mailhaul.test|pass|one level
chain|localhost|pass|intermediate sent along
self-signed|localhost|refuse|self-signed
unknown-root|localhost|refuse|root not trusted
wrong-host|localhost|refuse|name does not match
expired|localhost|refuse|expired
not-yet-valid|localhost|refuse|not yet valid
missing-intermediate|localhost|refuse|intermediate not sent
issuer-no-ca|localhost|refuse|issuer is no CA
cn-only|localhost|refuse|name only in CN
wildcard-two-levels|imap.eu.mailhaul.test|refuse|wildcard covers one level only
ip-mismatch|127.0.0.1|refuse|other IP address
ip-as-dns|127.0.0.1|refuse|IP address as dNSName
sha1|localhost|refuse|SHA-1 signature
rsa-1024|localhost|refuse|1024-bit key
nul-in-name|localhost|refuse|NUL in the name
CASES

# shellcheck shell=dash disable=SC2034 # used by what follows it: catalog/certificates/pairs and functions.sh
set -u
umask 077
LC_ALL=C
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
issuer=embedded restart='' reload=''

#!/bin/sh
# Measures the gateway beside a hand-written Nginx, in a throw-away Debian root and in namespaces of its own: run by
# `unshare -m -p -n --fork --kill-child sh gateway.sh ROOT FILES ROUNDS SECONDS`.
#
# ROOT is an unpacked Debian with Nginx, wrk and openssl; FILES has what is put over it: the gateway's rendered files.
# Both proxies pass requests on to the same service, over HTTP on loopback, and run at the same time; wrk asks one after
# the other, in turns. Printed are lines `PROXY PAGE REQUESTS-PER-SECOND`.
set -eu
base=$1 files=$2 rounds=$3 seconds=$4

mount --make-rprivate /
mount -t tmpfs none /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay overlay -o "lowerdir=$base,upperdir=/mnt/upper,workdir=/mnt/work" /mnt/root
root=/mnt/root
cp -a "$files/." "$root/"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs none "$root/run"
ip link set lo up

inside() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin sh -euc "$1"; }

# shellcheck disable=SC2016 # $host and the like are Nginx'
inside '
	mkdir -p /bench/pages /etc/phoenix/certificates/notes /var/log/nginx
	head -c 1000 /dev/zero | tr "\0" x >/bench/pages/1k
	head -c 65536 /dev/zero | tr "\0" x >/bench/pages/64k
	cd /etc/phoenix/certificates/notes
	openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN=notes.workshop.internal \
		-addext subjectAltName=DNS:notes.workshop.internal -keyout key.pem -out fullchain.pem 2>/dev/null
	echo "127.0.0.1 notes.workshop.internal" >>/etc/hosts
	cat >/bench/service.conf <<END
worker_processes auto;
pid /run/service.pid;
error_log /var/log/nginx/service.log;
events { worker_connections 4096; }
http {
	access_log off;
	sendfile on;
	keepalive_requests 1000000;
	server { listen 127.0.0.1:8080; root /bench/pages; }
}
END
	# What a careful person writes for the same: TLS, connections kept on both sides, a log.
	cat >/bench/handwritten.conf <<END
user www-data;
worker_processes auto;
pid /run/handwritten.pid;
error_log /var/log/nginx/handwritten.log;
events { worker_connections 4096; }
http {
	access_log /var/log/nginx/handwritten-access.log combined buffer=32k;
	ssl_protocols TLSv1.2 TLSv1.3;
	ssl_session_cache shared:tls:10m;
	upstream notes { server 127.0.0.1:8080; keepalive 64; }
	server {
		listen 8443 ssl;
		server_name notes.workshop.internal;
		ssl_certificate /etc/phoenix/certificates/notes/fullchain.pem;
		ssl_certificate_key /etc/phoenix/certificates/notes/key.pem;
		location / {
			proxy_pass http://notes;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_set_header Host \$host;
			proxy_set_header X-Forwarded-For \$remote_addr;
		}
	}
}
END
	nginx -c /bench/service.conf
	nginx -c /bench/handwritten.conf
	/usr/local/lib/phoenix/nginx-guard --start
	nginx
' >&2

# ask PROXY PORT PAGE SECONDS: requests per second, all of which were answered with 200.
ask() {
	said=$(inside "wrk -t 2 -c 32 -d $4s https://notes.workshop.internal:$2/$3 2>&1") || {
		printf '%s\n' "$said" >&2
		exit 1
	}
	case $said in *"Non-2xx"* | *"Socket errors"*)
		printf '%s\n' "$said" >&2
		exit 1
		;;
	esac
	printf '%s %s %s\n' "$1" "$3" "$(printf '%s\n' "$said" | sed -n 's/^Requests\/sec: *//p')"
}

for page in 1k 64k; do
	# The first of each is for warming up.
	ask gateway 443 "$page" 1 >/dev/null
	ask handwritten 8443 "$page" 1 >/dev/null
	round=0
	while [ "$round" -lt "$rounds" ]; do
		if [ $((round % 2)) = 0 ]; then
			ask gateway 443 "$page" "$seconds"
			ask handwritten 8443 "$page" "$seconds"
		else
			ask handwritten 8443 "$page" "$seconds"
			ask gateway 443 "$page" "$seconds"
		fi
		round=$((round + 1))
	done
done

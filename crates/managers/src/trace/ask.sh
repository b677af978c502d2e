# One request, hop by hop, from inside of this guest. It ends at the first hop that fails; every hop has its own limit.
# Arguments, each of them "-" where it is not asked for:
#   NAME   what to resolve          WANTED  the addresses it may mean, with commas; without NAME the one to go to
#   QUERY  a question for the name server, as printf takes it
#   PORT   where to                 SNI     the name to ask for in TLS
#   URL    what to fetch            HOST    the Host header, where it is not that of the URL
#   PAIR   folder of a certificate to show   TRUST  the file of the root to trust, "none", or "system"
set -u
LC_ALL=C
export LC_ALL
name=$1 wanted=$2 query=$3 port=$4 sni=$5 url=$6 host=$7 pair=$8 trust=$9

part() { printf '\036%s\n' "$1"; }
now() { date +%s%N; }
# ended STATUS BEGIN: how it ended, and after how many microseconds.
ended() { printf 'status %s\ntook %s\n' "$1" "$((($(now) - $2) / 1000))"; }

part asked
address=${wanted%%,*}
if [ "$name" != - ]; then
	part names
	begin=$(now)
	found=$(timeout 4 getent ahostsv4 "$name")
	ended "$?" "$begin"
	found=$(printf '%s\n' "$found" | sed -n 's/^\([0-9.]*\)[[:space:]]*STREAM.*/\1/p')
	printf '%s\n' "$found" | sed -n 's/^./address &/p'
	address=${found%%[!0-9.]*}
	# Whom it asks, and what that one says: only where no line of /etc/hosts has spoken first.
	server=$(sed -n 's/^nameserver[[:space:]]*//p' /etc/resolv.conf 2>/dev/null | head -n 1)
	if [ "$query" != - ] && [ -n "$server" ] && ! grep -v '^[[:space:]]*#' /etc/hosts | grep -qiwF -- "$name"; then
		part server
		printf 'server %s\n' "$server"
		# shellcheck disable=SC2016 # for bash
		timeout 2 bash -c 'exec 3<>"/dev/udp/$0/53" && env printf "$1" >&3 && exec dd bs=4096 count=1 <&3' "$server" "$query" 2>/dev/null |
			od -An -v -tx1
	fi
	case ",$wanted," in
	*",${address:-none},"*) ;;
	*) exit 0 ;;
	esac
fi
[ "$port" != - ] || exit 0

part route
ip -4 route get "$address" 2>&1 | head -n 1

part tcp
begin=$(now)
# shellcheck disable=SC2016 # for bash
said=$(timeout 4 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$address" "$port" 2>&1)
status=$?
ended "$status" "$begin"
printf '%s\n' "$said"
# Who answers for it on the network, as the kernel has learned just now.
part neighbour
# Where nobody answered, one that is only remembered is being asked again, five seconds after the first packet.
tries=4
while [ "$status" -eq 124 ] && [ "$tries" -gt 0 ] && ip -4 neigh show to "$address" 2>/dev/null | grep -qE 'DELAY|PROBE'; do
	tries=$((tries - 1))
	sleep 0.5
done
ip -4 neigh show to "$address" 2>/dev/null
[ "$status" -eq 0 ] || exit 0

if [ "$sni" != - ]; then
	part tls
	if command -v openssl >/dev/null; then
		begin=$(now)
		said=$(timeout 4 openssl s_client -connect "$address:$port" -servername "$sni" -showcerts </dev/null 2>&1 | tr -d '\036' | head -c 40000)
		ended 0 "$begin"
		printf '%s\n' "$said"
		case $said in *'-----BEGIN CERTIFICATE-----'*) ;; *) exit 0 ;; esac
	else
		echo 'lacks openssl'
	fi
fi

if [ "$url" != - ]; then
	part http
	server=${url#*://}
	case $server in */*) path=/${server#*/} ;; *) path=/ ;; esac
	server=${server%%/*}
	name=${server%:*}
	case $url in http://*:80/* | https://*:443/*) server=$name ;; esac
	[ "$host" = - ] || server=$host
	request=$(printf 'GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: phoenix\r\nAccept: */*\r\nConnection: close\r\n\r\n.' "$path" "$server")
	request=${request%.}
	set --
	case $url in
	https://*)
		set -- -connect "$address:$port" -servername "$name" -quiet
		[ "$pair" = - ] || set -- "$@" -cert "$pair/fullchain.pem" -cert_chain "$pair/fullchain.pem" -key "$pair/key.pem"
		[ "$trust" = none ] || set -- "$@" -verify_return_error -verify_hostname "$name"
		# Nobody else: Debian's OpenSSL looks into the folder of the system's roots all the same.
		case $trust in system | none) ;; *) set -- "$@" -CAfile "$trust" -no-CApath -no-CAstore ;; esac
		;;
	esac
	if [ $# -gt 0 ] && ! command -v openssl >/dev/null; then
		echo 'lacks openssl'
	else
		begin=$(now)
		# Either the beginning of an answer or what went wrong.
		# shellcheck disable=SC2016 # for bash
		said=$({
			if [ $# -gt 0 ]; then
				printf '%s' "$request" | timeout 5 openssl s_client "$@"
			else
				timeout 5 bash -c 'exec 3<>"/dev/tcp/$0/$1" && printf %s "$2" >&3 && exec cat <&3' "$address" "$port" "$request"
			fi
			[ $? -ne 124 ] || printf '\ntime up\n'
		} 2>&1 | tr -d '\000\036' | head -c 4000)
		ended 0 "$begin"
		code=$(printf '%s\n' "$said" | sed -n 's/^HTTP\/[0-9.]* \([0-9][0-9][0-9]\).*/\1/p' | head -n 1)
		if [ -n "$code" ]; then printf 'code %s\n' "$code"; else printf '%s\n' "$said" | head -c 2000; fi
	fi
fi
part end

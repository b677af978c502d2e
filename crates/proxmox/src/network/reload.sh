# shellcheck shell=dash
# Brings /etc/network/interfaces into force. `before` it changes and `after`: $1; a folder to keep something in: $2; the links
# that change, those that need others first: the rest.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
when=$1 folder=$2
shift 2
case $when in
before)
    # The ends of guests' links on bridges: what is made anew, or brought into line, lets them go.
    for port in /sys/class/net/*/brif/*; do
        name=${port##*/} bridge=${port%/brif/*}
        case $name in veth* | tap* | fwpr* | fwln*) echo "$name ${bridge##*/}" ;; esac
    done >"$folder/ports"
    command -v ifreload >/dev/null && exit 0
    for link in "$@"; do ifdown --force "$link"; done
    exit 0
    ;;
after)
    if command -v ifreload >/dev/null; then
        # 89: somebody else brings up a link just now.
        for _ in 1 2 3 4 5 6 7 8 9 10; do
            ifreload -a
            status=$?
            [ "$status" = 89 ] || break
            sleep 2
        done
    else
        ifup -a
        status=$?
    fi
    while read -r name bridge; do
        [ -e "/sys/class/net/$name" ] || continue
        [ -d "/sys/class/net/$bridge/bridge" ] || continue
        [ -e "/sys/class/net/$name/master" ] || ip link set "$name" master "$bridge"
    done <"$folder/ports"
    # Who is let out by no bridge any more: nobody runs what ends that when a link is only changed.
    command -v nft >/dev/null && nft list tables ip 2>/dev/null | while read -r _ _ table; do
        case $table in
        phoenix-nat-*) grep -q " $table " /etc/network/interfaces || nft delete table ip "$table" ;;
        esac
    done
    exit "$status"
    ;;
esac
exit 1

# shellcheck shell=dash
# What there is of a node's network: the files with all that they source, the links, and what changes them. Nothing is changed.
# Each part is a line with its name and the length of what follows in bytes.
LC_ALL=C
export LC_ALL
give() { printf '%s %s\n%s\n' "$1" "${#2}" "$2"; }
file() {
    [ -f "$1" ] || return 0
    # The dot keeps the empty lines at the end.
    text=$(cat "$1" && echo .) || exit 1
    give "file:$1" "${text%.}"
}
folder=/etc/network
file "$folder/interfaces"
[ ! -e "$folder/interfaces.new" ] || give staged "$folder/interfaces.new"
[ ! -f "$folder/interfaces" ] || while read -r word rest; do
    case $word in
        source | source-directory)
            cd "$folder" || exit 1
            # As a shell splits and matches them, as ifupdown does.
            for name in $rest; do
                case $name in /*) ;; *) name=$folder/$name ;; esac
                if [ -d "$name" ]; then for one in "$name"/*; do file "$one"; done; else file "$name"; fi
            done
            ;;
    esac
done <"$folder/interfaces"
if command -v ifreload >/dev/null; then give tool ifupdown2; elif command -v ifup >/dev/null; then give tool ifupdown; fi
give addresses "$(ip -j address)" || exit 1
give routes "$(ip -j route show default)"
give routes6 "$(ip -j -6 route show default)"
for link in /sys/class/net/*; do
    name=${link##*/}
    case $name in fwbr*) continue ;; esac
    if [ -d "$link/bridge" ]; then
        aware=0
        read -r aware 2>/dev/null <"$link/bridge/vlan_filtering"
        give "bridge:$name" "$aware"
    elif [ -d "$link/bonding" ]; then
        read -r mode _ <"$link/bonding/mode"
        give "bond:$name" "$mode"
    elif [ -e "$link/device" ]; then
        give "card:$name" ''
    fi
done
for pin in /etc/systemd/network/10-phoenix-*.link; do
    [ ! -f "$pin" ] || give "pin:$pin" "$(cat "$pin")"
done
if command -v nft >/dev/null; then give nft "$(nft list tables ip 2>/dev/null)"; fi
[ ! -f /run/phoenix-network/armed ] || give armed "$(cat /run/phoenix-network/armed)"
give way "${SSH_CONNECTION:-}"

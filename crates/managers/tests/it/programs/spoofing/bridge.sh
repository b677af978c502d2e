#!/bin/sh
# A bridge with links, in a network of its own, behind a firewall: bridge.sh RULES FRAMES FRAMES.PL LINK...
# The other end of a link is what a guest has; it is called p and the link's name.
set -eu
rules=$1 frames=$2 program=$3
shift 3
ip link set lo up
ip link add br0 type bridge
ends=
for link; do
  ip link add "$link" type veth peer name "p$link"
  ip link set "$link" master br0 up
  ip link set "p$link" up
  ends="$ends p$link"
done
ip link set br0 up
# Where the kernel does not track connections on bridges, what is bridged goes through the tables of IP.
for key in iptables ip6tables; do
  if [ -e "/proc/sys/net/bridge/bridge-nf-call-$key" ]; then echo 1 >"/proc/sys/net/bridge/bridge-nf-call-$key"; fi
done
nft -f "$rules"
# shellcheck disable=SC2086 # names of devices have no blanks
exec perl "$program" $ends <"$frames"

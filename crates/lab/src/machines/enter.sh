#!/bin/sh
# Runs a program in another root, in which the node's devices, processes and storages are where they are outside. It is called
# in a mount namespace of its own, which ends with the program.
set -eu
root=$1
shift
for place in /dev /proc /sys /run /var/lib/vz /mnt/pve /var/cache/phoenix-lab; do
  [ -d "$place" ] || continue
  mkdir -p "$root$place"
  mount --rbind "$place" "$root$place"
done
exec chroot "$root" "$@"

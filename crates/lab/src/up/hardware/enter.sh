#!/bin/sh
# Runs QEMU in a root of its own, in which this computer's devices, the lab's folder and the image are to be seen. It is called
# in a mount namespace of its own, which ends with the program.
set -eu
root=$1 lab=$2 image=$3 cgroup=$4
shift 4
if [ -n "$cgroup" ]; then
  mkdir -p "$cgroup"
  echo $$ >"$cgroup/cgroup.procs"
fi
for place in /dev /proc /sys /run; do
  mount --rbind "$place" "$root$place"
done
mkdir -p "$root/lab" "$root/image"
mount --bind "$lab" "$root/lab"
mount --bind "$image" "$root/image"
# Names are asked for as this computer does.
: >>"$root/etc/resolv.conf"
mount --bind /etc/resolv.conf "$root/etc/resolv.conf"
exec chroot "$root" "$@"

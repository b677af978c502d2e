#!/bin/sh
# Runs before the system does (initramfs-tools, local-bottom): at the first start of a system disk, the lab's own files are put
# onto it, from the disk that has the lab's program. What is changed there later stays.
# shellcheck disable=SC2154 # initramfs-tools sets rootmnt.
case "${1:-}" in prereqs) exit 0 ;; esac
done=/etc/phoenix-lab/first-files
[ -e "$rootmnt$done" ] && exit 0
disk=/dev/disk/by-id/virtio-PHX-PROGRAM
tries=0
while [ ! -e "$disk" ] && [ "$tries" -lt 300 ]; do
  sleep 0.1
  tries=$((tries + 1))
done
mkdir -p /program
mount -r -t ext4 "$disk" /program || exit 1
mount -o remount,rw "$rootmnt" || exit 1
cp -a /program/files/. "$rootmnt/" || exit 1
# A system has a number of its own, by which a pool knows who used it last.
head -c 4 /dev/urandom >"$rootmnt/etc/hostid"
mkdir -p "$rootmnt/etc/phoenix-lab"
: >"$rootmnt$done"
sync
mount -o remount,ro "$rootmnt"
umount /program

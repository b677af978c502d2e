#!/bin/sh
# What is not to be the same in a copy of a container's image. `$1` is the image, which nobody has mounted.
set -eu
if [ "$(blkid -p -o value -s TYPE "$1")" = xfs ]; then
  xfs_admin -U generate "$1" >/dev/null
fi
mount -o loop "$1" /mnt
# Nothing is followed out of it.
if [ -d /mnt/etc ] && [ ! -L /mnt/etc ] && [ -f /mnt/etc/machine-id ] && [ ! -L /mnt/etc/machine-id ]; then
  : >/mnt/etc/machine-id
fi
umount /mnt

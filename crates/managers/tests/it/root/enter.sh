# shellcheck shell=dash
set -e
mount --make-rprivate /
mount -t tmpfs none "$2/layers"
mkdir "$2/layers/upper" "$2/layers/scratch"
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/layers/upper,workdir=$2/layers/scratch" "$2/root"
mount -t proc proc "$2/root/proc"
mount --rbind /dev "$2/root/dev"
mount -t tmpfs none "$2/root/dev/shm"
mount -t tmpfs none "$2/root/run"
mkdir -p "$2/root/run/systemd/system" "$2/root/var/lib/test-units"
cp "$3" "$2/root/usr/local/sbin/systemctl"
chmod 755 "$2/root/usr/local/sbin/systemctl"
hostname fresh
# The machine's own root is let go of, so that nothing that enters these namespaces can reach it.
cd "$2/root"
mkdir -p mnt/machine
pivot_root . mnt/machine
cd /
exec /bin/sh -c '
	umount -l /mnt/machine && rmdir /mnt/machine && ip link set lo up && touch /run/throw-away && echo ready
	exec sleep 3600
'

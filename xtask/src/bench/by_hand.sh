# Three containers with Nginx, as a person would write it on the node: all at once, each as soon as it can.
#   sh by_hand.sh TEMPLATE STORAGE GATEWAY ID=ADDRESS/LENGTH…
set -eu
template=$1 storage=$2 gateway=$3
shift 3
one() {
  id=$1 address=$2
  pct create "$id" "$template" --hostname "hand-$id" --unprivileged 1 --cores 1 --memory 512 --swap 0 \
    --rootfs "$storage:4" --net0 "name=eth0,bridge=vmbr0,ip=$address,gw=$gateway" \
    --nameserver "$gateway" >/dev/null
  pct start "$id"
  # The network of a guest that has just been started takes a moment.
  pct exec "$id" -- sh -c '
    export DEBIAN_FRONTEND=noninteractive
    for try in 1 2 3 4 5; do apt-get update -qq >/dev/null 2>&1 && break; sleep 1; done
    apt-get install -y -qq nginx-light >/dev/null 2>&1'
}
for pair; do
  one "${pair%%=*}" "${pair#*=}" &
  pids="${pids:-} $!"
done
for pid in $pids; do wait "$pid"; done

#!/bin/sh
# What cloud-init is told at a machine's first start alone (first_start.rs), on the node: `begin` puts it where the node reads
# it, `end` has it read nowhere any more, `forget` only removes it.
# Arguments: which of them, the volume, the machine's id. Standard input: what it is told.
set -u
umask 077
path=$(pvesm path "$2") || exit 2
case $1 in
begin)
    # The folder is everybody's to look into, the file root's alone.
    (umask 022 && mkdir -p "${path%/*}") && cat >"$path.new" && mv -f "$path.new" "$path"
    ;;
end)
    # First nothing secret is in it, then nobody reads it, then it goes: cut off anywhere, the next run does the rest.
    if [ -e "$path" ]; then
        printf '#cloud-config\n{}\n' >"$path" || exit 2
    fi
    late=0
    said=$(qm cloudinit update "$3" 2>&1) || late=3
    qm set "$3" --delete cicustom >/dev/null || exit 2
    rm -f "$path" "$path.new" || exit 2
    [ "$late" = 0 ] || printf '%s\n' "$said" >&2
    exit "$late"
    ;;
forget)
    rm -f "$path" "$path.new"
    ;;
esac

# Puts the public key on standard input among those that may log in, once.
set -eu
umask 077
read -r key
file=$HOME/.ssh/authorized_keys
mkdir -p "$HOME/.ssh"
if [ -e "$file" ] && grep -qxF "$key" "$file"; then exit 0; fi
# A last line without its end would swallow it.
if [ -s "$file" ] && [ -n "$(tail -c 1 "$file")" ]; then echo >>"$file"; fi
printf '%s\n' "$key" >>"$file"

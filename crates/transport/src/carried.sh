# NONCE COMMAND ARGUMENT...
#
# ssh ends with 255 whatever goes wrong, and so may a command. That the command began is said before it does, and that a
# 255 was its own end after it, by a word that nobody knows who is not on this machine.
nonce=$1
shift
printf 'phoenix-begun-%s\n' "$nonce" >&2
"$@"
status=$?
if [ "$status" -eq 255 ]; then printf 'phoenix-ended-%s\n' "$nonce" >&2; fi
exit "$status"

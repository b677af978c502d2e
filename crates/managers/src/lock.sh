# shellcheck shell=dash
file=/run/lock/phoenix-$1.lock
exec 9<>"$file" || exit 3
if flock -n 9; then
  printf '%s\n' "$2" > "$file.owner"
  echo locked
  cat > /dev/null
else
  echo "held by $(cat "$file.owner" 2>/dev/null)"
  exit 1
fi

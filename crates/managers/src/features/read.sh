# Prints small text files that everybody in the guest may read, each below its number among the arguments: `@3`, and its
# lines after a `|`. Others are left out: what only some may read may hold secrets. It runs as nobody, who can read just
# those, wherever somebody has a path lead meanwhile.
n=0
for file in "$@"; do
	n=$((n + 1))
	if [ ! -f "$file" ] || [ -L "$file" ] || [ ! -r "$file" ]; then continue; fi
	[ -n "$(find "$file" -maxdepth 0 -perm -004 -size -65k)" ] || continue
	printf '@%s\n' "$n"
	timeout 5 head -c 70000 -- "$file" | sed 's/^/|/'
	printf '\n'
done

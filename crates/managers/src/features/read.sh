# Prints small text files that everybody in the guest may read, each below its number among the arguments: `@3`, and its
# lines after a `|`. Others are left out: what only some may read may hold secrets.
n=0
for file in "$@"; do
	n=$((n + 1))
	if [ ! -f "$file" ] || [ -L "$file" ]; then continue; fi
	[ -n "$(find "$file" -maxdepth 0 -perm -004 -size -65k)" ] || continue
	printf '@%s\n' "$n"
	sed 's/^/|/' "$file"
	printf '\n'
done

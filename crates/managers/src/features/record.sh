# shellcheck shell=dash disable=SC2154,SC2034 # what the engine sets and reads
# ---- the record: what a feature made ---------------------------------------------------------------------------------
#
# A file for each feature, $state/made/FEATURE, with a line for each thing: kind, target, how, notes, between tabs.
#   kind   package, user, folder, file, block:WORD, unit, artifact; `undo` for what takes back a command, whose notes are its text in
#          base64, behind `at-restart,` (or `at-restart:FILE,`) where that counts from the next start; `data` for what people keep in it; `old` where the
#          feature was put here before there was a record, so that what was there before is not known
#   how    new: made by this engine; kept: it was there, and a copy of it is below $state/kept/FEATURE; into: the block is
#          in a file that was there; there: it was there and stays; of a unit: what it was before, as `disabled/inactive`
#   notes  what must follow when it goes, as for files
# A line is written before what it tells is done, so that a run that is killed forgets nothing.

# load_record: what this feature and the others have made.
load_record() {
	local file
	made=$state/made/$feature
	recorded=$nl
	others=$nl
	if [ -e "$made" ]; then
		recorded=$nl$(cat "$made")$nl
	elif [ -e "$record" ] && grep -qF "  \"$feature\": {" "$record"; then
		recorded="${nl}old$tab-$tab-$tab-$nl"
	fi
	set --
	for file in "$state/made/"*; do
		[ "$file" = "$made" ] || [ ! -f "$file" ] || set -- "$@" "$file"
	done
	[ $# = 0 ] || others=$nl$(cat "$@")$nl
}

# put_record TEXT: the record as it is from now on.
put_record() {
	if ! mkdir -p "$state/made" || ! chmod 0711 "$state" || ! chmod 0700 "$state/made" ||
		! printf '%s\n' "$1" >"$state/made/.new" || ! mv -fT "$state/made/.new" "$made"; then
		fail "cannot write $made"
	fi
}

# open_record: it is there before the first change, and says so where this feature is older than records.
open_record() {
	local text
	[ ! -e "$made" ] || return 0
	text=${recorded#"$nl"}
	put_record "${text%"$nl"}"
}

# known KIND TARGET: whether the record tells how it came to be.
known() {
	case $recorded in
	*"$nl$1$tab$2${tab}there$tab"*)
		case $recorded in
		*"$nl$1$tab$2${tab}new$tab"* | *"$nl$1$tab$2${tab}kept$tab"*) ;;
		*) return 1 ;;
		esac
		;;
	*"$nl$1$tab$2$tab"*) ;;
	*) return 1 ;;
	esac
}

# shared KIND TARGET: whether another feature has it, too.
shared() {
	case $others in *"$nl$1$tab$2$tab"*) return 0 ;; esac
	return 1
}

# remember KIND TARGET HOW NOTES: before it is done. Whatever another feature found there first counts.
remember() {
	local how="$3" rest
	[ "$acting" = true ] || return 0
	if known "$1" "$2"; then return 0; fi
	if shared "$1" "$2"; then
		rest=${others#*"$nl$1$tab$2$tab"}
		case ${rest%%"$tab"*} in there) ;; *) how=${rest%%"$tab"*} ;; esac
	fi
	open_record || return 1
	recorded="$recorded$1$tab$2$tab$how$tab$4$nl"
	printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$how" "$4" >>"$made" || fail "cannot write $made"
}

# remember_folders PATH: those that have to be made for it, and it itself.
remember_folders() {
	local path="$1" all=''
	while [ -n "$path" ] && [ ! -e "$path" ] && [ ! -h "$path" ]; do
		all=$path${all:+$nl}$all
		path=${path%/*}
	done
	[ -n "$all" ] || return 0
	while IFS= read -r path; do
		remember folder "$path" new - || return 1
	done <<-LINES
		$all
	LINES
}

# keep_copy PATH: of what a file is put in the place of. Another feature's copy is the older one.
keep_copy() {
	local from='' to="$state/kept/$feature$1" folder out
	for folder in "$state/kept/"*; do
		if [ "$folder" != "$state/kept/$feature" ] && { [ -e "$folder$1" ] || [ -h "$folder$1" ]; }; then from=$folder$1; fi
	done
	out=$({
		umask 077
		mkdir -p "$state/kept" && chmod 0700 "$state/kept" && mkdir -p "${to%/*}" &&
			if [ -n "$from" ]; then cp -aT -- "$from" "$to.phoenix-new"; else staged "${1%/*}" copy "${1##*/}" "$to.phoenix-new"; fi &&
			mv -fT -- "$to.phoenix-new" "$to"
	} 2>&1) || fail "cannot keep a copy of $1 in $state/kept: $out"
}

# remember_file PATH NOTES: before it is written.
remember_file() {
	[ "$acting" = true ] || return 0
	if known file "$1"; then return 0; fi
	if [ ! -e "$1" ] && [ ! -h "$1" ]; then
		remember file "$1" new "$2"
		return
	fi
	# What stands there may be an older one of this feature's.
	case $recorded in *"${nl}old$tab"*) return 0 ;; esac
	case $others in *"${nl}file$tab$1${tab}new$tab"*) ;; *) keep_copy "$1" || return 1 ;; esac
	remember file "$1" kept "$2"
}

# compared NUMBER: the record held against what the feature is to have. `R` and the lines of the new record; `S` and those
# that are no longer to be, in the order in which they go.
compared() {
	{
		"wanted_$1" | sed "s/^/W$tab/"
		printf '%s' "$others" | sed -e '/^$/d' -e "s/^/O$tab/"
		printf '%s' "$recorded" | sed -e '/^$/d' -e "s/^/A$tab/"
	} | awk -F '\t' -v OFS='\t' '
		{ key = $2 FS $3 }
		$1 == "W" && !(key in wanted) { want[++m] = key; wanted[key] = $4 }
		$1 == "O" && (other[key] == "" || other[key] == "there") { other[key] = $4 }
		$1 == "A" {
			if (!(key in how)) had[++n] = key
			if (!(key in how) || how[key] == "there") { how[key] = $4; note[key] = $5 }
		}
		function mine(key) { return how[key] != "" && how[key] != "there" }
		function line(key, was, notes) { if (!(key in put)) { put[key] = 1; print "R", key, was, notes } }
		END {
			if (("old" FS "-") in how) line("old" FS "-", "-", "-")
			for (i = 1; i <= m; i++) {
				key = want[i]; split(key, part, FS); kind = part[1]; path = part[2]
				if (kind ~ /^(file|folder|artifact|block:.*)$/) {
					k = split(path, name, "/"); above = ""
					for (j = 2; j < k; j++) {
						above = above "/" name[j]; folder = "folder" FS above
						if (!(folder in wanted) && (how[folder] == "new" || other[folder] == "new")) line(folder, "new", "-")
					}
				}
				was = mine(key) ? how[key] : other[key] != "" && other[key] != "kept" ? other[key] : ""
				if (was == "") was = kind == "artifact" ? "new" : kind == "data" ? "-" : kind ~ /^block:/ ? "into" : kind ~ /^(unit|undo)$/ ? "" : "there"
				if (was != "") line(key, was, wanted[key])
			}
			split("unit file artifact block folder user package undo data", order, " ")
			for (r = 1; r <= 9; r++)
				for (i = n; i >= 1; i--) {
					split(had[i], part, FS); kind = part[1]; sub(/:.*/, "", kind)
					if (kind == order[r] && !(had[i] in put) && !(had[i] in wanted)) print "S", had[i], how[had[i]], note[had[i]]
				}
		}'
}

# settle NUMBER: takes back what the feature made and no longer is to have, and writes down what it has.
settle() {
	local all stale new
	stale_notes=
	trust=
	[ "$acting" = true ] || [ "$recorded" != "$nl" ] || return 0
	all=$(compared "$1")
	stale=$(printf '%s\n' "$all" | sed -n "s/^S$tab//p")
	if [ -n "$stale" ]; then
		# What people keep in it is only told of when the feature itself goes.
		take_back "$(printf '%s\n' "$stale" | sed "/^data$tab/d")" || return 1
		distrust
		stale_notes=$(printf '%s\n' "$stale" | cut -f 4)
	fi
	[ "$acting" = true ] || return 0
	new=$(printf '%s\n' "$all" | sed -n "s/^R$tab//p")
	recorded=$nl$new$nl
	[ -e "$made" ] && [ "$new" = "$(cat "$made")" ] && return 0
	put_record "$new"
}

# units_of NOTES: the units that they name.
units_of() { printf '%s\n' "$1" | tr ',' '\n' | sed -n -e 's/^reload://p' -e 's/^restart://p' | sort -u; }

# stale_units NAME...: those that what went named, and that neither the feature nor its files (the names given) name now.
stale_units() {
	local unit
	[ -n "$stale_notes" ] || return 0
	for unit in $(units_of "$stale_notes"); do
		case "$recorded $* " in *"${nl}unit$tab$unit$tab"* | *" $unit "*) continue ;; esac
		other_unit "$unit" || return 1
	done
}

# ---- taking back -----------------------------------------------------------------------------------------------------

# stays KIND KEY TARGET: what is not removed, for people to know.
stays() {
	case $told in *"$nl$3$nl"*) return 0 ;; esac
	told="$told$3$nl"
	[ "$acting" = true ] || return 0
	say "{\"feature\":\"$feature\",\"action\":\"$1\",\"$2\":\"$(quoted "$3")\",\"change\":\"keep\",\"done\":true}"
}

# take_back LINES: of a record, in this order; everything may be gone already.
take_back() {
	local kind target how note packages=''
	[ -n "$1" ] || return 0
	told=$nl
	while IFS="$tab" read -r kind target how note; do
		if [ "$kind" != data ] && shared "$kind" "$target"; then continue; fi
		case $kind/$how in
		unit/*) back_unit "$target" "$how" ;;
		file/new) back_file "$target" "$note" ;;
		file/kept) back_kept "$target" "$note" ;;
		artifact/*) back_artifact "$target" "$note" ;;
		block:*) back_block "${kind#block:}" "$target" "$how" "$note" ;;
		folder/new) back_folder "$target" ;;
		user/new) back_user "$target" ;;
		package/new) packages="$packages $target" ;;
		undo/new) back_command "$target" "$note" ;;
		data/*) [ ! -e "$target" ] || stays folder path "$target" ;;
		esac || return 1
	done <<-LINES
		$1
	LINES
	[ -z "$packages" ] || back_packages "$packages"
}

# back_unit UNIT ENABLED/ACTIVE: as it was before.
back_unit() {
	local is
	is=$(systemctl is-enabled "$1" 2>/dev/null)
	case $is/${2%/*} in
	enabled/enabled | enabled-runtime/enabled-runtime) ;;
	enabled/* | enabled-runtime/*)
		systemd "$1" disable || return 1
		act unit name "$1" disable
		;;
	disabled/enabled)
		systemd "$1" enable || return 1
		act unit name "$1" enable
		;;
	esac
	is=$(systemctl is-active "$1" 2>/dev/null)
	case $is/${2#*/} in
	active/active | activating/active | reloading/active) ;;
	active/* | activating/* | reloading/*)
		systemd "$1" stop || return 1
		act unit name "$1" stop
		;;
	inactive/active | failed/active)
		systemctl cat "$1" >/dev/null 2>&1 || return 0
		systemd "$1" start || return 1
		act unit name "$1" start
		;;
	esac
}

# gone PATH NOTES: what follows when a file is not there any more.
gone() {
	local link
	due "$2"
	case $1 in
	/etc/systemd/system/*.d/*.conf)
		unit=${1%/*}
		unit=${unit##*/}
		due "restart:${unit%.d}"
		;;
	/usr/local/share/ca-certificates/*.crt)
		trust=1
		# update-ca-certificates leaves the links to what is gone: by its name, and by its subject's hash.
		link=${1##*/}
		link=${link%.crt}.pem
		if [ "$acting" = true ] && [ "$(readlink -- "/etc/ssl/certs/$link")" = "$1" ]; then
			find /etc/ssl/certs -maxdepth 1 -lname "$link" -delete
			rm -f -- "/etc/ssl/certs/$link"
		fi
		;;
	esac
}

# distrust: what went from the certificates of this machine is trusted no more.
distrust() {
	if [ -n "$trust" ] && [ "$acting" = true ] && [ -x /usr/sbin/update-ca-certificates ]; then run 300 update-ca-certificates >&2; fi
	trust=
}

back_file() {
	local out unit
	if [ ! -e "$1" ] && [ ! -h "$1" ]; then
		gone "$1" "$2"
		return 0
	fi
	if [ "$acting" = true ]; then
		begin_change || return 1
		owe "$2" || return 1
		out=$(removed "$1" 2>&1) || {
			fail "failed to remove $1: $out"
			return 1
		}
	fi
	gone "$1" "$2"
	act file path "$1" remove
}

# back_command FEATURE/ID NOTES: what takes back a command.
back_command() {
	local out
	if [ "$acting" = true ]; then
		begin_change || return 1
		case $2 in at-restart*,*) owe "${2%,*}" || return 1 ;; esac
		out=$(run_text 900 "$(printf '%s' "${2##*,}" | base64 -d)") || {
			fail "what takes back \"${1#*/}\" failed: $(last "$out")"
			return 1
		}
		printf '%s\n' "$out" >&2
	fi
	act command name "undo ${1#*/}" run
}

# back_artifact PATH artifact:NAME: only what was put there from outside as this.
back_artifact() {
	[ -e "$state/artifacts/${2#artifact:}" ] || return 0
	back_file "$1" - || return 1
	[ "$acting" != true ] || rm -f "$state/artifacts/${2#artifact:}"
}

# back_kept PATH NOTES: what was there before the feature.
back_kept() {
	local copy="$state/kept/$feature$1" out dir unit
	[ -e "$copy" ] || [ -h "$copy" ] || return 0
	if [ "$acting" = true ]; then
		begin_change || return 1
		owe "$2" || return 1
		fresh "$1" || return 1
		out=$({ staged "$dir" restore "$copy" "${1##*/}" && rm -f -- "$copy"; } 2>&1) || {
			fail "failed to put the old $1 back: $out"
			return 1
		}
	fi
	gone "$1" "$2"
	act file path "$1" restore
}

back_block() {
	[ -e "$2" ] || return 0
	block none 81a4 root:root "$4" "$1" '' "$2" || return 1
	if [ "$3" = new ] && [ "$acting" = true ] && [ -z "$(run 30 head -c 2 -- "$2")" ]; then removed "$2"; fi
}

back_folder() {
	local out
	[ -d "$1" ] || return 0
	if [ -n "$(find "$1" -mindepth 1 -print -quit 2>/dev/null)" ]; then
		# When only looking, what is in it may be about to go.
		stays folder path "$1"
		return 0
	fi
	if [ "$acting" = true ]; then
		begin_change || return 1
		# What is mounted there stays.
		if ! out=$({ into "${1%/*}" && rmdir -- "./${1##*/}"; } 2>&1); then
			printf '%s\n' "$out" >&2
			stays folder path "$1"
			return 0
		fi
	fi
	act folder path "$1" remove
}

# back_user NAME: only where nothing is theirs any more.
back_user() {
	local out
	getent passwd "$1" >/dev/null || return 0
	if [ "$acting" = true ]; then
		begin_change || return 1
		if ! out=$(run 120 find / \( -path /proc -o -path /sys -o -path /dev -o -path /run \) -prune -o \( -user "$1" -o -group "$1" \) -print -quit) ||
			[ -n "$out" ] || ! out=$(run 60 userdel -- "$1"); then
			printf 'the user %s stays: %s\n' "$1" "$out" >&2
			stays user name "$1"
			return 0
		fi
	fi
	act user name "$1" remove
}

# Packages that were installed by themselves and that nothing needs.
orphans() { run 120 apt-get -s autoremove | sed -n 's/^Remv \([^ ]*\).*/\1/p' | sort -u; }

# one_by_one NAMES: removes those that let themselves be removed. One that refuses (sudo does where root has no password) stays,
# and is again as if nobody had asked.
one_by_one() {
	local package
	for package in $1; do
		apt remove "$package" && continue
		printf '%s install\n' "$package" | dpkg --set-selections
	done
	return 0
}

# back_packages NAMES: those that nothing else needs, with what came along. They are not purged: that would take data, of
# databases for example, along. What was not needed by anything before stays as it is.
back_packages() {
	local all='' before after out package folder='' folders='' told_of=''
	for package in $1; do
		case " $needed " in *" $package "*) continue ;; esac
		# Half removed is not removed.
		case $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) in
		'' | not-installed | config-files) ;;
		*) all="$all $package" ;;
		esac
	done
	[ -n "$all" ] || return 0
	if [ "$acting" != true ]; then
		for package in $all; do act package name "$package" remove; done
		return 0
	fi
	begin_change || return 1
	if [ -n "$(dpkg --audit 2>/dev/null | head -c 1)" ]; then run 900 dpkg --force-confdef --force-confold --configure -a >&2; fi
	# Written down, so that a run that is killed in between does not take its own for others'.
	if [ ! -e "$state/orphans" ]; then orphans >"$state/orphans.new" && mv -fT "$state/orphans.new" "$state/orphans"; fi
	before=$(cat "$state/orphans")
	# shellcheck disable=SC2086 # one word each
	out=$(run 120 apt-mark auto $all) || {
		fail "failed to let go of$all: $(last "$out")"
		return 1
	}
	after=$(orphans)
	after=$({
		printf '%s\n' "$before" | sed 's/^/B /'
		printf '%s\n' "$after" | sed 's/^/A /'
	} | awk '$1 == "B" { was[$2] = 1 } $1 == "A" && NF > 1 && !($2 in was) { print $2 }')
	if [ -n "$after" ]; then
		# shellcheck disable=SC2086
		folders=$(dpkg-query -L $after 2>/dev/null | grep -E '^/(var|srv)/' | sort -u | while IFS= read -r folder; do
			[ -d "$folder" ] && ! dpkg-query -S "$folder" 2>/dev/null | sed 's/: .*//' | tr -s ', ' '\n' |
				grep -qvxF -e "$after" && printf '%s\n' "$folder"
		done)
		# shellcheck disable=SC2086
		out=$(apt remove $after) || out=$(one_by_one "$after")
		printf '%s\n' "$out" >&2
	fi
	rm -f "$state/orphans"
	for package in $all; do
		if [ -z "$(missing "$package")" ]; then
			# As it was: nothing removes it on the side later on.
			run 60 apt-mark manual "$package" >&2
			stays package name "$package"
		else
			act package name "$package" remove
		fi
	done
	# What is left in folders that were theirs alone is somebody's data.
	while IFS= read -r folder; do
		case $folder in '' | "${told_of:-/}"/*) continue ;; esac
		[ -z "$(find "$folder" -mindepth 1 -print -quit 2>/dev/null)" ] && continue
		told_of=$folder
		stays folder path "$folder"
	done <<-LINES
		$folders
	LINES
}

# latest_first NAME...: what was applied last comes first, since it may need what was there before it.
latest_first() {
	{
		printf '%s\n' "$@"
		[ ! -e "$record" ] || cat "$record"
	} | awk -F '"' '
		NF == 1 && $0 !~ /[{}]/ && !($0 in name) { name[$0] = ++n; all[n] = $0 }
		NF > 1 && $2 in name { found[++m] = $2; listed[$2] = 1 }
		END {
			for (i = m; i >= 1; i--) print found[i]
			for (i = 1; i <= n; i++) if (!(all[i] in listed)) print all[i]
		}'
}

wanted_none() { :; }
content_none() { :; }

# uninstall NAME: takes back all that a feature made.
uninstall() {
	local unit result=ok lines
	enter "$1"
	fingerprint=
	trust=
	if [ "$acting" = true ]; then
		undo_all
		clean
	fi
	case $recorded in *"${nl}old$tab"*) result=unknown ;; esac
	if [ "$recorded" != "$nl" ]; then
		lines=$(compared none | sed -n "s/^S$tab//p")
		if take_back "$lines" && reload_units; then
			for unit in $(units_of "$notes"); do
				other_unit "$unit" || break
			done
			distrust
		fi
	fi
	total=$((total + changed))
	if [ -z "$error" ] && [ "$acting" = true ]; then
		clean
		set_back
		if ! write_record drop || ! rm -rf "$state/kept/$feature" || ! rm -f "$made" "$pending"; then error="cannot write to $state"; fi
	fi
	if [ -n "$error" ]; then
		failed
		return 1
	fi
	say "{\"feature\":\"$feature\",\"result\":\"$result\",\"changed\":$changed}"
}

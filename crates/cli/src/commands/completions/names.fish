
# Names of the site at hand, where a name can stand.
complete -c phoenix-cli -f -a '(set -l words (commandline -opc) (commandline -ct); phoenix-cli __complete -- $words[2..-1] 2>/dev/null)'

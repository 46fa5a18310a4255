# The guard of a throwaway PostgreSQL: sh -c guard.sh guard DIR DATA
#
# It waits until its standard input ends. The owner of the server holds the other
# end and writes nothing, so that happens when the owner closes it or dies, by
# whatever signal. Then the guard ends every process that works below DIR, which
# has the data directory DATA in it, and removes DIR.

trap '' HUP INT QUIT TERM PIPE
dir=$1
data=$2

# members prints the pids of the processes that work below DIR. A PostgreSQL
# process works in its data directory from its first moment to its last, so one
# that has not yet written postmaster.pid is found too, and a pid that the system
# has given to somebody else since is not.
members() {
	if [ -e /proc/self/cwd ]; then
		ls -l /proc/[0-9]*/cwd 2>/dev/null | while read -r line; do
			case $line in
			*" -> $dir"*)
				line=${line%%/cwd -> *}
				echo "${line##*/proc/}"
				;;
			esac
		done
	else # macOS: the postmaster, by its arguments; its backends follow it
		ps -A -o pid= -o command= | while read -r pid command; do
			case $command in
			*"-D $data"*) [ "$pid" = "$$" ] || echo "$pid" ;;
			esac
		done
	fi
}

# gone waits up to 5 s until no member is left.
gone() {
	i=0
	while [ -n "$(members)" ]; do
		[ "$i" -lt 100 ] || return 1
		i=$((i + 1))
		sleep 0.05
	done
}

while read -r _; do :; done

# QUIT is PostgreSQL's immediate shutdown, which ends the backends and removes
# the shared memory. A server that was restarted has a new pid: read it now.
if [ -n "$(members)" ]; then
	postmaster=$(head -n 1 "$data/postmaster.pid" 2>/dev/null)
	for pid in $(members); do
		[ "$pid" = "$postmaster" ] && kill -QUIT "$pid"
	done
	[ -n "$postmaster" ] && gone
	for pid in $(members); do
		kill -KILL "$pid" 2>/dev/null
	done
	gone
fi

# A postmaster that ended in order has removed postmaster.pid. What a killed one
# leaves in it is the id of a System V segment (56 bytes, on the seventh line),
# which would stay until the machine restarts.
if [ -e "$data/postmaster.pid" ]; then
	segment=$(sed -n '7s/.* //p' "$data/postmaster.pid")
	[ -n "$segment" ] && ipcrm -m "$segment" 2>/dev/null
fi

i=0
while [ -e "$dir" ] && [ "$i" -lt 100 ]; do
	rm -rf "$dir" 2>/dev/null
	[ -e "$dir" ] && sleep 0.05
	i=$((i + 1))
done

package advice

import (
	"fmt"
	"slices"
	"strings"
)

// Why there is no size.

// nothingSeen says why of those who are asked about.
func nothingSeen(t *tally, seen Seen) []string {
	switch {
	case seen.Samples == 0:
		return []string{"There is not one sample."}
	case t.hidden > 0:
		return []string{fmt.Sprintf("Of %s, %s hide what they do from this role. Let it see (GRANT pg_read_all_stats), or ask about those that it sees (--user).", plural(t.mean.open(), "open connection"), plural(t.hidden, "connection"))}
	case t.mean.Unknown > hiddenMost*t.mean.open():
		return []string{fmt.Sprintf("%s are open, and of most it is not known what they do: track_activities is off, or they are starting.", plural(t.mean.open(), "connection"))}
	case t.mean.open() > 0:
		return []string{fmt.Sprintf("%s are open and none was in use. Look again while the service is at work.", plural(t.mean.open(), "connection"))}
	}
	return []string{"No client was connected. Look again while the service is at work."}
}

// nobodyPicked says of a filter that picks nobody, while others are connected, which
// of its names nobody has and which there are; "" otherwise.
func nobodyPicked(f Filter, everybody []application, hidden float64) string {
	if len(everybody) == 0 || slices.ContainsFunc(everybody, func(x application) bool { return f.Picks(x.name, x.role, x.database) }) {
		return ""
	}
	for _, part := range []struct {
		what, name string
		of         func(application) string
	}{
		{"has the application name", f.Application, func(x application) string { return x.name }},
		{"is of the user", f.Role, func(x application) string { return x.role }},
		{"is to the database", f.Database, func(x application) string { return x.database }},
	} {
		if part.name == "" || slices.ContainsFunc(everybody, func(x application) bool { return part.of(x) == part.name }) {
			continue
		}
		why := fmt.Sprintf("No connection %s %s", part.what, part.name)
		if names := namesOf(everybody, part.of); names != "" {
			why += "; connected are " + names
		}
		if hidden > 0 && part.name == f.Application {
			why += fmt.Sprintf("; %s hide theirs from this role (GRANT pg_read_all_stats)", plural(hidden, "connection"))
		}
		return why + "."
	}
	return fmt.Sprintf("No connection is of %s at once, though each of these is there.", f)
}

// namesOf lists names, the first few.
func namesOf(everybody []application, of func(application) string) string {
	const few = 6
	var names []string
	for _, x := range everybody {
		if name := of(x); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if n := len(names); n > few {
		names = append(names[:few], fmt.Sprintf("%d more", n-few))
	}
	return strings.Join(names, ", ")
}

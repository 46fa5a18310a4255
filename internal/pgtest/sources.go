package pgtest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// aptSource is one entry of apt's sources: all the URIs with all the suites.
type aptSource struct {
	uris       []string
	suites     []string
	components []string
	signedBy   string // file of the keyring, "" for apt's own
	trusted    bool   // [trusted=yes]: signatures are not checked
}

// readSources reads apt's sources below etc (/etc/apt): sources.list and the
// files *.list and *.sources of sources.list.d. Only enabled binary packages.
func readSources(etc string) []aptSource {
	lists, _ := filepath.Glob(filepath.Join(etc, "sources.list.d", "*.list"))
	deb822s, _ := filepath.Glob(filepath.Join(etc, "sources.list.d", "*.sources"))
	var all []aptSource
	for _, path := range append([]string{filepath.Join(etc, "sources.list")}, lists...) {
		if text, err := os.ReadFile(path); err == nil {
			all = append(all, parseOneLine(string(text))...)
		}
	}
	for _, path := range deb822s {
		if text, err := os.ReadFile(path); err == nil {
			all = append(all, parseDeb822(string(text))...)
		}
	}
	return all
}

// parseOneLine reads the older form: deb [option=value …] URI suite component …
func parseOneLine(text string) []aptSource {
	var all []aptSource
	for _, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		rest, ok := strings.CutPrefix(strings.Join(strings.Fields(line), " "), "deb ")
		if !ok {
			continue
		}
		var s aptSource
		if options, ok := strings.CutPrefix(rest, "["); ok {
			if options, rest, ok = strings.Cut(options, "]"); !ok {
				continue
			}
			for _, option := range strings.Fields(options) {
				key, value, _ := strings.Cut(option, "=")
				s.set(key, value)
			}
		}
		fields := strings.Fields(rest)
		if len(fields) < 2 {
			continue
		}
		s.uris, s.suites, s.components = fields[:1], fields[1:2], fields[2:]
		all = append(all, s)
	}
	return all
}

// parseDeb822 reads the newer form: stanzas of "Field: value", parted by empty
// lines, where a line that begins with a space continues the one before.
func parseDeb822(text string) []aptSource {
	var all []aptSource
	for _, stanza := range splitStanzas(text) {
		s := aptSource{
			uris:       strings.Fields(stanza["uris"]),
			suites:     strings.Fields(stanza["suites"]),
			components: strings.Fields(stanza["components"]),
		}
		s.set("signed-by", stanza["signed-by"])
		s.set("trusted", stanza["trusted"])
		off := slices.Contains([]string{"no", "false", "0", "off", "disable"}, strings.ToLower(stanza["enabled"]))
		if !off && slices.Contains(strings.Fields(stanza["types"]), "deb") && len(s.uris) > 0 && len(s.suites) > 0 {
			all = append(all, s)
		}
	}
	return all
}

// splitStanzas returns the fields of each stanza, names in lower case.
func splitStanzas(text string) []map[string]string {
	var all []map[string]string
	stanza, field := map[string]string{}, ""
	for _, line := range append(strings.Split(text, "\n"), "") {
		switch name, value, ok := strings.Cut(line, ":"); {
		case strings.HasPrefix(line, "#"):
		case strings.TrimSpace(line) == "":
			if len(stanza) > 0 {
				all = append(all, stanza)
			}
			stanza, field = map[string]string{}, ""
		case line[0] == ' ' || line[0] == '\t':
			if field != "" {
				stanza[field] += "\n" + strings.TrimSpace(line)
			}
		case ok:
			field = strings.ToLower(strings.TrimSpace(name))
			stanza[field] = strings.TrimSpace(value)
		}
	}
	return all
}

// set takes the two options that matter to whom reads the archive. A key written
// into the source itself is no file that could be handed on.
func (s *aptSource) set(key, value string) {
	switch strings.ToLower(key) {
	case "signed-by":
		if value = strings.TrimSpace(value); strings.HasPrefix(value, "/") {
			s.signedBy = strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' })[0]
		}
	case "trusted":
		s.trusted = strings.EqualFold(value, "yes")
	}
}

// mirror picks the source that carries the main archive of the running release,
// as opposed to its security updates or somebody's packages: the machine can
// reach it, and the next release is on it too.
func mirror(sources []aptSource, codename string) (uri string, from aptSource, ok bool) {
	for _, s := range sources {
		if !slices.Contains(s.components, "main") || !slices.ContainsFunc(s.suites, func(suite string) bool {
			return suite == codename || suite == "stable" || suite == "oldstable"
		}) {
			continue
		}
		for _, uri := range s.uris {
			if strings.HasPrefix(uri, "http://") || strings.HasPrefix(uri, "https://") || strings.HasPrefix(uri, "file:") {
				return strings.TrimSuffix(uri, "/"), s, true
			}
		}
	}
	return "", aptSource{}, false
}

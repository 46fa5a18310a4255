package pgtest

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func TestAptSourcesOfBothForms(t *testing.T) {
	tests := []struct {
		name  string
		parse func(string) []aptSource
		text  string
		want  []aptSource
	}{
		{"one line", parseOneLine, "deb http://a/debian bookworm main contrib\n",
			[]aptSource{{uris: []string{"http://a/debian"}, suites: []string{"bookworm"}, components: []string{"main", "contrib"}}}},
		{"one line, tabs and a comment behind", parseOneLine, "  deb\thttp://a/debian\tbookworm  main # ours\n",
			[]aptSource{{uris: []string{"http://a/debian"}, suites: []string{"bookworm"}, components: []string{"main"}}}},
		{"options", parseOneLine, "deb [ arch=amd64 signed-by=/k.gpg ] https://a b main\ndeb [trusted=yes] http://c d main",
			[]aptSource{
				{uris: []string{"https://a"}, suites: []string{"b"}, components: []string{"main"}, signedBy: "/k.gpg"},
				{uris: []string{"http://c"}, suites: []string{"d"}, components: []string{"main"}, trusted: true},
			}},
		{"flat repository", parseOneLine, "deb file:/srv ./", []aptSource{{uris: []string{"file:/srv"}, suites: []string{"./"}, components: []string{}}}},
		{"commented, sources, broken", parseOneLine, "# deb http://a b main\ndeb-src http://a b main\ndeb\ndeb http://a\ndeb [x http://a b main\n", nil},
		{"deb822", parseDeb822, "Types: deb deb-src\nURIs: http://a/debian\nSuites: bookworm bookworm-updates\nComponents: main non-free\nSigned-By: /usr/k.gpg\n",
			[]aptSource{{uris: []string{"http://a/debian"}, suites: []string{"bookworm", "bookworm-updates"}, components: []string{"main", "non-free"}, signedBy: "/usr/k.gpg"}}},
		{"deb822 with two URIs, comments inside, continued lines, no end of line", parseDeb822,
			"# head\n\ntypes: deb\n# http://old\nURIs: http://a\n http://b\nSuites:\n bookworm\nComponents: main",
			[]aptSource{{uris: []string{"http://a", "http://b"}, suites: []string{"bookworm"}, components: []string{"main"}}}},
		{"deb822 with a key inside", parseDeb822,
			"Types: deb\nURIs: http://a\nSuites: s\nComponents: main\nTrusted: yes\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n Comment: x\n -----END PGP PUBLIC KEY BLOCK-----\n",
			[]aptSource{{uris: []string{"http://a"}, suites: []string{"s"}, components: []string{"main"}, trusted: true}}},
		{"deb822 with two stanzas, one off, one of sources", parseDeb822,
			"Types: deb\nURIs: http://a\nSuites: s\nEnabled: no\n\n\nTypes: deb-src\nURIs: http://b\nSuites: s\n \nTypes: deb\nURIs: http://c\nSuites: s\n",
			[]aptSource{{uris: []string{"http://c"}, suites: []string{"s"}, components: []string{}}}},
		{"deb822 nonsense", parseDeb822, " x\n:\n\nabc\n", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.parse(tt.text); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestTheMirrorIsTheMainArchiveOfTheRelease(t *testing.T) {
	tests := []struct{ name, list, want string }{
		{"after security and others", "deb http://sec/debian-security bookworm-security main\ndeb http://pg/apt bookworm-pgdg main\ndeb http://m/debian/ bookworm main", "http://m/debian"},
		{"by its suite's other name", "deb http://m/debian oldstable main", "http://m/debian"},
		{"not one that debootstrap cannot read", "deb mirror+file:/etc/m bookworm main\ndeb cdrom:[x]/ bookworm main\ndeb https://m/debian bookworm main", "https://m/debian"},
		{"not without main", "deb http://m/debian bookworm contrib", ""},
		{"not another release", "deb http://m/debian bullseye main", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, _, ok := mirror(parseOneLine(tt.list), "bookworm"); got != tt.want || ok != (tt.want != "") {
				t.Errorf("got %q, %v, want %q", got, ok, tt.want)
			}
		})
	}
}

func TestAllFilesOfAptSourcesAreRead(t *testing.T) {
	etc := t.TempDir()
	for name, text := range map[string]string{
		"sources.list":                 "deb http://1 s main",
		"sources.list.d/two.list":      "deb http://2 s main",
		"sources.list.d/three.sources": "Types: deb\nURIs: http://3\nSuites: s",
		"sources.list.d/off.disabled":  "deb http://4 s main",
	} {
		path := filepath.Join(etc, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, s := range readSources(etc) {
		got = append(got, s.uris...)
	}
	if want := []string{"http://1", "http://2", "http://3"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Whatever is in the files, reading them ends, and what is returned can be used.
func FuzzAptSources(f *testing.F) {
	f.Add("deb [signed-by=/k,/l] http://a b main # c\nTypes: deb\nURIs: http://a\nSuites: s\nSigned-By: /k")
	f.Add("Signed-By: / ,\nTypes: deb\n\tx\n:y\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, s := range append(parseOneLine(text), parseDeb822(text)...) {
			if len(s.uris) == 0 || len(s.suites) == 0 {
				t.Errorf("a source without URI or suite: %+v", s)
			}
			mirror([]aptSource{s}, "bookworm")
		}
	})
}

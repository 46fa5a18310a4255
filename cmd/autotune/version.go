package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/spf13/pflag"
)

func versionCommand() *command {
	return &command{
		name: "version", summary: "print the version",
		about: "Prints the version, the commit it was built from and the version of Go, as the build recorded them.",
		flags: func(fs *pflag.FlagSet) runner {
			var output string
			addOutput(fs, &output)
			return func(_ context.Context, _ []string, s *session) error { return writeVersion(s.stdout, output) }
		},
	}
}

// buildVersion is what the build says of itself.
type buildVersion struct {
	Schema   string `json:"schema"`
	Version  string `json:"version"`            // "(devel)" for a build from a checkout
	Commit   string `json:"commit,omitempty"`   // unknown for an installed module
	Modified bool   `json:"modified,omitempty"` // the checkout had changes
	Go       string `json:"go"`
}

func readVersion() buildVersion {
	v := buildVersion{Schema: "autotune.version/v1", Version: "(devel)"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	v.Go = info.GoVersion
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

func writeVersion(w io.Writer, output string) error {
	v := readVersion()
	if output == outputJSON {
		return writeJSON(w, v)
	}
	commit := ""
	if v.Commit != "" {
		commit = ", commit " + v.Commit[:min(12, len(v.Commit))]
		if v.Modified {
			commit += " with changes"
		}
	}
	_, err := fmt.Fprintf(w, "autotune %s%s, %s\n", v.Version, commit, v.Go)
	return err
}

// writeJSON writes one document, for people too.
func writeJSON(w io.Writer, document any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(document)
}

// writeJSONLine writes a document as one line, for a stream of them.
func writeJSONLine(w io.Writer, document any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(document)
}

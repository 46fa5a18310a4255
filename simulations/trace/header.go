package trace

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
)

// Version is the version of the format.
const Version = 1

// magic begins every trace.
const magic = "#autotune-trace "

// Kind says what a row of a trace is.
type Kind string

// The kinds.
const (
	Events     Kind = "events"
	Intervals  Kind = "intervals"
	Capacities Kind = "capacity"
)

// ServiceKind says what service times mean.
type ServiceKind string

// The kinds of service times. The zero value is unknown.
const (
	// Base is what a query takes when nothing else runs: contention comes on top.
	Base ServiceKind = "base"
	// Observed is what it took in the run that was recorded, contention included.
	Observed ServiceKind = "observed"
)

// Header is the first line of a trace. Zero values are unknown.
type Header struct {
	Version int  `json:"version"`
	Kind    Kind `json:"kind"`

	T0          string      `json:"t0,omitempty"`                // when the trace's second 0 was, in any words
	QuantumS    float64     `json:"quantum_s,omitempty"`         // resolution of the recorded times, in seconds
	ServiceKind ServiceKind `json:"service_kind,omitempty"`      // what service times mean
	OpenLoop    *bool       `json:"open_loop,omitempty"`         // false: callers waited for an answer before they asked again
	SampleRate  float64     `json:"sample_rate,omitempty"`       // share of all requests that was recorded, 0–1
	PoolMax     int         `json:"pool_max_per_pool,omitempty"` // connections of each pool of the column pool
	Source      string      `json:"source,omitempty"`
	Licence     string      `json:"licence,omitempty"`
	Note        string      `json:"note,omitempty"`
}

// parseHeader reads the first line, without its end.
func parseHeader(line []byte) (h Header, err error) {
	rest, ok := strings.CutPrefix(string(line), magic)
	if !ok {
		return h, fmt.Errorf("this is not a trace: its first line does not begin with %q; autotune record --from converts other formats", strings.TrimSpace(magic))
	}
	if err := json.Unmarshal([]byte(rest), &h); err != nil {
		return h, fmt.Errorf("the header is not a JSON object as this version knows it: %s", plain(err))
	}
	return h, h.Validate()
}

// Validate tells what is wrong with a header.
func (h Header) Validate() error {
	switch {
	case h.Version != Version:
		return fmt.Errorf("the header says version %d; this program reads version %d", h.Version, Version)
	case h.Kind != Events && h.Kind != Intervals && h.Kind != Capacities:
		return fmt.Errorf("the header says kind %q; the kinds are %s, %s and %s", h.Kind, Events, Intervals, Capacities)
	case h.ServiceKind != "" && h.ServiceKind != Base && h.ServiceKind != Observed:
		return fmt.Errorf("the header says service_kind %q; it may be %s or %s", h.ServiceKind, Base, Observed)
	case !(h.QuantumS >= 0 && h.QuantumS <= 86400):
		return fmt.Errorf("the header says quantum_s %v; it may be 0 to 86400 s", h.QuantumS)
	case !(h.SampleRate >= 0 && h.SampleRate <= 1):
		return fmt.Errorf("the header says sample_rate %v; it may be above 0, up to 1", h.SampleRate)
	case h.PoolMax < 0 || h.PoolMax > math.MaxInt32:
		return fmt.Errorf("the header says pool_max_per_pool %d; it may be 1 or more", h.PoolMax)
	}
	return nil
}

// appendTo writes the first line.
func (h Header) appendTo(b []byte) ([]byte, error) {
	if err := h.Validate(); err != nil {
		return b, fmt.Errorf("trace: %w", err)
	}
	text, err := json.Marshal(h)
	if err != nil {
		return b, fmt.Errorf("trace: %w", err)
	}
	return append(append(append(b, magic...), text...), '\n'), nil
}

// plain is an error of encoding/json without its package's name and in one line.
func plain(err error) string {
	return strings.ReplaceAll(strings.TrimPrefix(err.Error(), "json: "), "\n", " ")
}

package controller

import (
	"time"

	"github.com/pgautotune/autotune/internal/model"
	"github.com/pgautotune/autotune/internal/sizing"
)

// Action says what a decision does to the pool.
type Action string

// The closed set of actions.
const (
	Hold   Action = "hold"   // nothing changes
	Grow   Action = "grow"   // limit or max rises
	Shrink Action = "shrink" // limit or max falls
	Freeze Action = "freeze" // blind, or an operator's: stay at this size until that ends
)

// Decision is the outcome of one [Step]: what the pool shall be, and why. It
// carries every number it rests on, so that it can be explained from its own
// fields and replayed from the observation before it.
type Decision struct {
	At     time.Duration `json:"at"`
	Action Action        `json:"action"`
	Reason sizing.Reason `json:"reason"`

	Limit int `json:"limit"` // most connections in use at once, from now on
	Max   int `json:"max"`   // connections the pool shall be allowed
	Min   int `json:"min"`   // MinConns the pool shall have

	// Swap is true when Max or Min differ from the pool's and it has to be
	// hot-swapped for that. A higher Max within the pool's room needs no swap.
	Swap bool `json:"swap,omitempty"`

	// Turn is true when the limit only moves between the two that a trial
	// under way compares, a few times a second, as it has before.
	Turn bool `json:"turn,omitempty"`

	// Bound names the wall that clipped the limit; "none" if none did.
	Bound sizing.Bound `json:"bound"`

	// Next is how soon Step would like to look again, while it learns; 0 is
	// the usual interval.
	Next time.Duration `json:"next,omitempty"`

	Estimate       model.Estimate        `json:"estimate"`
	Recommendation sizing.Recommendation `json:"recommendation"`
}

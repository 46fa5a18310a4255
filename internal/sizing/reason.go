package sizing

// Reason says why a decision is what it is. The set is closed; each value is
// explained in docs/how-it-decides.md.
type Reason string

// The reasons.
const (
	Start             Reason = "start"               // first look: the size the pool was configured with
	Steady            Reason = "steady"              // nothing asks for a change
	DemandRose        Reason = "demand_rose"         // more callers at once than the limit, and the server has room
	DemandFell        Reason = "demand_fell"         // the connections have not been needed for a while
	Learning          Reason = "learning"            // callers queue: trying another limit to see what throughput it gives
	BelowKnee         Reason = "below_knee"          // more connections raised throughput
	PastKnee          Reason = "past_knee"           // fewer connections serve as much or more
	ServerSaturated   Reason = "server_saturated"    // callers queue, but more connections cannot help: faster queries or more cores would
	IdleInTransaction Reason = "idle_in_transaction" // callers hold connections idle in transactions; mending that code frees them
	LockContention    Reason = "lock_contention"     // backends wait for each other's locks; more connections make longer queues for them
	CapacityChanged   Reason = "capacity_changed"    // throughput at this limit is not what it was: the curve is learned afresh
	Profile           Reason = "profile"             // the profile or the vector-count guideline sets this size
	Bounded           Reason = "bounded"             // a bound moved and the size follows, or callers queue at one; the decision names it
	Exhausted         Reason = "budget_exhausted"    // the pool is at a wall of the server that others fill
	Blind             Reason = "blind"               // the server cannot be read: stay at the last good size
	Operator          Reason = "operator"            // frozen by hand
)

// Reasons lists the closed set in the order above.
var Reasons = []Reason{Start, Steady, DemandRose, DemandFell, Learning, BelowKnee, PastKnee, ServerSaturated,
	IdleInTransaction, LockContention, CapacityChanged, Profile, Bounded, Exhausted, Blind, Operator}

// sentences says every reason in words that fit beside the numbers.
var sentences = map[Reason]string{
	Start:             "the size it was configured with",
	Steady:            "nothing asks for a change",
	DemandRose:        "more callers at once, and the server has room",
	DemandFell:        "not needed for a while",
	Learning:          "callers queue: trying what other limits give",
	BelowKnee:         "more connections raised throughput",
	PastKnee:          "fewer connections serve as much or more",
	ServerSaturated:   "server saturated: more would not help",
	IdleInTransaction: "callers hold transactions open and idle",
	LockContention:    "backends wait for each other's locks",
	CapacityChanged:   "throughput here has changed: learning anew",
	Profile:           "the profile or vector guideline sets it",
	Bounded:           "a bound has moved",
	Exhausted:         "the server has no connections left",
	Blind:             "the server cannot be read: last good size",
	Operator:          "frozen by hand",
}

// Sentence says the reason to a person; one that is not known speaks for itself.
func (r Reason) Sentence() string {
	if s, ok := sentences[r]; ok {
		return s
	}
	return string(r)
}

// Bound names a hard wall of the size.
type Bound string

// The bounds.
const (
	NoBound       Bound = "none"
	FloorBound    Bound = "floor"    // the user's lower wall
	CeilingBound  Bound = "ceiling"  // the user's upper wall
	BudgetBound   Bound = "budget"   // server connections the pool may hold
	ServerBound   Bound = "server"   // max_connections minus reserved minus other clients
	MemoryBound   Bound = "memory"   // what the database's memory holds, where the machine is shared
	ProfileBound  Bound = "profile"  // the profile's own walls
	CapacityBound Bound = "capacity" // not a wall of anybody's: the knee of the throughput curve
)

// Bounds lists the closed set in the order above.
var Bounds = []Bound{NoBound, FloorBound, CeilingBound, BudgetBound, ServerBound, MemoryBound, ProfileBound, CapacityBound}

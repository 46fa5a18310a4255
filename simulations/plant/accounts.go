package plant

import "fmt"

// area is one side of Little's law and its other side, kept apart so that they
// can be compared: the integral over time of the number present, which only
// counts, and the sum of the sojourn times, which each request measures by its
// own clock. Both are exact in whole nanoseconds, so they must be equal, not
// nearly equal. They may wrap around; their difference does not care.
type area struct {
	n        int64
	last     int64
	integral int64 // ns × number
	sojourns int64 // ns, of those who left
	mean     float64
}

func (a *area) advance(now int64) {
	dt := now - a.last
	a.integral += a.n * dt
	a.mean += float64(a.n) * float64(dt)
	a.last = now
}

func (a *area) enter(now int64) {
	a.advance(now)
	a.n++
}

func (a *area) exit(now, since int64) {
	a.advance(now)
	a.n--
	a.sojourns += now - since
}

// over is the mean number present over the run so far.
func (a *area) over(now int64) float64 {
	if now == 0 {
		return 0
	}
	return (a.mean + float64(a.n)*float64(now-a.last)) / float64(now)
}

// balance compares the two sides at the end, when present are still there for
// the given sum of times.
func (a *area) balance(name string, now, present, times int64) error {
	a.advance(now)
	if a.n != present {
		return fmt.Errorf("plant: %d requests are %s by the count, %d by their own state: a bug of the simulation", a.n, name, present)
	}
	if a.integral != a.sojourns+times {
		return fmt.Errorf("plant: Little's law is broken for the requests %s: the integral of their number is %d ns, the sum of their times %d ns: a bug of the simulation", name, a.integral, a.sojourns+times)
	}
	return nil
}

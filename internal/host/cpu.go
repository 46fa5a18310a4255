package host

import "math"

// cpuTime is the cumulative time of one core, in seconds since boot.
type cpuTime struct{ busy, total float64 }

// busyShare is the share of time, 0–1, that the cores were busy between two
// readings. A core that came or went in between, whose clock stood still or went
// back, or whose figures are not numbers, does not count; known is false when
// none does.
func busyShare(before, after map[string]cpuTime) (share float64, known bool) {
	var busy, total float64
	for name, now := range after {
		then, ok := before[name]
		if !ok {
			continue
		}
		b, t := now.busy-then.busy, now.total-then.total
		if !finite(b) || !finite(t) || t <= 0 {
			continue
		}
		busy += min(max(b, 0), t)
		total += t
	}
	if total <= 0 || !finite(total) {
		return 0, false
	}
	return busy / total, true
}

// quotaShare is the share of a CPU quota, 0–1, that was used: used and elapsed
// in seconds, quota in cores. It is unknown when a counter went back or the
// clock stood still. The kernel lets a group exceed its quota by a little within
// one window; that counts as all of it.
func quotaShare(used, elapsed, quota float64) (share float64, known bool) {
	if !finite(used) || !finite(elapsed) || !finite(quota) || used < 0 || elapsed <= 0 || quota <= 0 {
		return 0, false
	}
	return min(used/(elapsed*quota), 1), true
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

package model

import (
	"math"
	"time"
)

// maxServers ends every search for a number of servers. PostgreSQL's
// max_connections itself cannot exceed 262,143.
const maxServers = 262_143

// ErlangB returns the share of callers that an Erlang loss system with the given
// servers turns away at an offered load of a erlangs: M/M/c/c. It uses the
// recursion B(n) = a·B(n−1) / (n + a·B(n−1)), whose terms stay within 0–1, so it
// neither overflows nor cancels however large n is. Unusable input (negative,
// NaN or infinite) gives NaN.
func ErlangB(servers int, a float64) float64 {
	if servers < 0 || !finite(a) || a < 0 {
		return math.NaN()
	}
	b := 1.0
	for n := 1; n <= servers; n++ {
		b = a * b / (float64(n) + a*b)
	}
	return b
}

// ErlangC returns the share of callers that must wait in an M/M/c queue with the
// given servers at an offered load of a erlangs: 1 when a ≥ servers, because the
// queue then grows without end. Unusable input gives NaN.
func ErlangC(servers int, a float64) float64 {
	return erlangCFromB(servers, a, ErlangB(servers, a))
}

// ErlangCServers returns the smallest number of servers, at least 1, at which no
// more than the share pWait of callers must wait: for pWait = 0.05 about a + 2√a,
// falling to a + 1.74√a for very large a (Halfin and Whitt).
//
//	a (erlangs)      2   5  10  20  50  100
//	servers at 5 %   6  10  17  29  64  119
//
// It returns 0 when the question has no answer: a is negative, NaN, infinite or
// more than 262,143 servers could serve, or pWait is not above 0.
func ErlangCServers(a, pWait float64) int {
	if math.IsNaN(pWait) || pWait <= 0 {
		return 0
	}
	return smallestServers(a, func(_ int, wait float64) bool { return wait <= pWait })
}

// ErlangCServersForWait returns the smallest number of servers, at least 1, at
// which the given quantile (0–1, e.g. 0.99) of the wait time is no longer than
// maxWait, for an offered load of a erlangs and a mean service time:
//
//	P(Wq > t) = C(c, a) · exp(−(c − a)·t / (S·v))
//
// where v is the variability (ca² + cs²)/2 of Allen and Cunneen, built from the
// squared coefficients of variation of the gaps between arrivals and of the
// service time: 1 for M/M/c (Poisson arrivals, exponential service), 0.5 for
// constant service, above 1 for bursts. It stretches the wait, not the chance of
// waiting, and so is an approximation that is exact for v = 1 only. v below 0,
// NaN or infinite counts as 1.
//
// It returns 0 when the question has no answer (see [ErlangCServers]).
func ErlangCServersForWait(a float64, service time.Duration, quantile float64, maxWait time.Duration, v float64) int {
	if math.IsNaN(quantile) || quantile < 0 || quantile >= 1 || service <= 0 || maxWait < 0 {
		return 0
	}
	if !finite(v) || v < 0 {
		v = 1
	}
	late := 1 - quantile
	return smallestServers(a, func(c int, wait float64) bool {
		return wait*longerThan(c, a, service, maxWait, v) <= late
	})
}

// longerThan is P(Wq > t | Wq > 0) for a stable system.
func longerThan(servers int, a float64, service, t time.Duration, v float64) float64 {
	if t == 0 {
		return 1
	}
	if v == 0 {
		return 0 // nothing varies, so nobody who waits at all waits long
	}
	return math.Exp(-(float64(servers) - a) * float64(t) / (float64(service) * v))
}

// smallestServers walks Erlang's recursion upward once and returns the first
// stable number of servers that pleases enough(servers, P(wait)).
func smallestServers(a float64, enough func(servers int, wait float64) bool) int {
	if !finite(a) || a < 0 {
		return 0
	}
	b := 1.0
	for n := 1; n <= maxServers; n++ {
		b = a * b / (float64(n) + a*b)
		if float64(n) > a && enough(n, erlangCFromB(n, a, b)) {
			return n
		}
	}
	return 0
}

func erlangCFromB(servers int, a, b float64) float64 {
	if math.IsNaN(b) {
		return b
	}
	if a >= float64(servers) {
		return 1
	}
	c := float64(servers)
	return c * b / (c - a*(1-b))
}

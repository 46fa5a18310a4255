package trace

import (
	"math"
	"strconv"
)

// parseNumber reads a finite decimal number. It gives what [strconv.ParseFloat]
// gives, of which it is the quick way for what traces are full of: at most 15
// digits with a point in between, which a float64 holds exactly, divided by a power
// of ten that it holds exactly too, so that the division rounds once.
func parseNumber(b []byte) (float64, bool) {
	if len(b) == 0 {
		return 0, false
	}
	digits := b
	if b[0] == '-' {
		digits = b[1:]
	}
	var mantissa uint64
	point, count := -1, 0
	for i, c := range digits {
		if d := c - '0'; d <= 9 {
			mantissa = mantissa*10 + uint64(d)
			count++
			continue
		}
		if c != '.' || point >= 0 {
			return slowNumber(b)
		}
		point = i
	}
	if count == 0 || count > 15 {
		return slowNumber(b)
	}
	v := float64(mantissa)
	if point >= 0 {
		v /= powersOfTen[len(digits)-1-point]
	}
	if len(digits) != len(b) {
		v = -v
	}
	return v, true
}

var powersOfTen = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}

func slowNumber(b []byte) (float64, bool) {
	for _, c := range b { // no hexadecimal, no underscores, no names
		if (c < '0' || c > '9') && c != '.' && c != '-' && c != '+' && c != 'e' && c != 'E' {
			return 0, false
		}
	}
	v, err := strconv.ParseFloat(string(b), 64)
	return v, err == nil && !math.IsInf(v, 0)
}

// appendNumber writes the shortest text that reads back as v; nothing for NaN.
func appendNumber(b []byte, v float64) []byte {
	if math.IsNaN(v) {
		return b
	}
	format := byte('f')
	if a := math.Abs(v); a != 0 && (a < 1e-6 || a >= 1e21) {
		format = 'e' // as JSON does
	}
	return strconv.AppendFloat(b, v, format, -1, 64)
}

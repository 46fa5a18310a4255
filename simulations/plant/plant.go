package plant

import "errors"

// Run simulates the world of cfg with a pool sized by t, and returns what became
// of it. Requests come from src, or from cfg.Arrivals where src is nil, and from
// cfg.Closed. The same config, source and tuner give the same result, bit for bit.
func Run(cfg Config, src Source, t Tuner) (*Result, error) {
	return nil, errors.New("plant: under construction")
}

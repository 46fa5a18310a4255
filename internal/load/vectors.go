package load

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
	"strconv"
)

// MaxDimensions is what pgvector indexes of the type vector take.
const MaxDimensions = 2000

// The shape of a mixture. Embeddings of documents lie in clusters of uneven size;
// uniform noise in many dimensions has no near neighbours, so an index walks
// through all of it, which no service ever sees.
const (
	clusters      = 100
	clusterSkew   = 0.8 // Zipf exponent of the clusters' sizes
	clusterSpread = 0.6 // standard deviation within a cluster; that of the centres is 1
)

// Stream tells sequences of one mixture apart, so that a query is never a copy
// of a row.
type Stream uint64

// The streams.
const (
	Rows Stream = iota
	Queries
	Inserts
	exactRows
)

// Mixture draws vectors from seeded Gaussian clusters. It is safe for concurrent
// use.
type Mixture struct {
	seed    uint64
	centres [][]float32
	upTo    []float64 // cumulative share of the clusters, ends at 1
}

// NewMixture returns the mixture of a seed, in 1 to [MaxDimensions] dimensions.
func NewMixture(dimensions int, seed uint64) (*Mixture, error) {
	if dimensions < 1 || dimensions > MaxDimensions {
		return nil, fmt.Errorf("%d dimensions: pgvector indexes take 1 to %d", dimensions, MaxDimensions)
	}
	m := &Mixture{seed: seed, centres: make([][]float32, clusters), upTo: make([]float64, clusters)}
	rng := rand.New(rand.NewPCG(seed, scramble(math.MaxUint64)))
	total := 0.0
	for i := range m.centres {
		c := make([]float32, dimensions)
		for j := range c {
			c[j] = float32(rng.NormFloat64())
		}
		total += math.Pow(float64(i+1), -clusterSkew)
		m.centres[i], m.upTo[i] = c, total
	}
	for i := range m.upTo {
		m.upTo[i] /= total
	}
	return m, nil
}

// Dimensions is the length of the vectors.
func (m *Mixture) Dimensions() int { return len(m.centres[0]) }

// Vector returns the n-th vector of a stream, always the same one.
func (m *Mixture) Vector(s Stream, n uint64) []float32 {
	rng := rand.New(rand.NewPCG(m.seed, scramble(uint64(s)<<56|n)))
	k := min(sort.SearchFloat64s(m.upTo, rng.Float64()), clusters-1)
	v := make([]float32, m.Dimensions())
	for j, c := range m.centres[k] {
		v[j] = c + clusterSpread*float32(rng.NormFloat64())
	}
	return v
}

// Text returns the n-th vector of a stream as pgvector reads it. Text needs no
// type to be registered with the connection, so any pool takes it as it is.
func (m *Mixture) Text(s Stream, n uint64) string {
	return string(appendText(nil, m.Vector(s, n)))
}

// appendText writes a vector in pgvector's text form. Five digits are more than
// the embeddings of any model mean.
func appendText(b []byte, v []float32) []byte {
	b = append(b, '[')
	for i, x := range v {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendFloat(b, float64(x), 'g', 5, 32)
	}
	return append(b, ']')
}

// scramble is the finalizer of SplitMix64: neighbouring ordinals become unrelated
// seeds.
func scramble(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

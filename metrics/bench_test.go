package metrics

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/pgtest"
)

// BenchmarkScrapedAcquire prints what scraping ten times a second costs callers, as
// the ratio of the time of acquire and release while scraped to that while not.
// Slices of both alternate, each as long as two scrapes, so that a noisy machine
// slows both; the ratio is the median over the pairs. Half of the pairs compare
// unscraped with unscraped and show how far chance goes.
func BenchmarkScrapedAcquire(b *testing.B) {
	p := open(b, pgtest.DSN(b), 64)
	server := httptest.NewServer(Handler(New(p, Options{})))
	defer server.Close()
	release := hold(b, p, 64) // 64 connections, whose counters a scrape adds up
	release()

	var scraped, control []float64
	for i := range max(b.N, 60) {
		plain := slice(b, p, "")
		if i%2 == 0 {
			scraped = append(scraped, slice(b, p, server.URL)/plain)
		} else {
			control = append(control, slice(b, p, "")/plain)
		}
	}
	b.ReportMetric(median(scraped), "scraped/plain-ratio")
	b.ReportMetric(median(control), "plain/plain-ratio")
	b.ReportMetric(0, "ns/op")
}

const scrapeEvery = 100 * time.Millisecond

// slice is the mean time of acquire and release by one goroutine for two scrape
// intervals, in which url, if there is one, is scraped twice.
func slice(b *testing.B, p *autotune.Pool, url string) (nanos float64) {
	var scraper sync.WaitGroup
	stop := make(chan struct{})
	if url != "" {
		scraper.Go(func() {
			tick := time.NewTicker(scrapeEvery)
			defer tick.Stop()
			for {
				get(b, url)
				select {
				case <-tick.C:
				case <-stop:
					return
				}
			}
		})
	}
	start, n := time.Now(), 0
	for time.Since(start) < 2*scrapeEvery {
		for range 100 {
			c, err := p.Acquire(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			c.Release()
		}
		n += 100
	}
	nanos = float64(time.Since(start)) / float64(n)
	close(stop)
	scraper.Wait()
	return nanos
}

func get(b testing.TB, url string) {
	resp, err := http.Get(url)
	if err != nil {
		b.Error(err)
		return
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		b.Errorf("%s: %v", resp.Status, err)
	}
}

func median(x []float64) float64 {
	slices.Sort(x)
	return x[len(x)/2]
}

// BenchmarkSnapshot is what a scrape costs beside the formatting: the pool's part.
func BenchmarkSnapshot(b *testing.B) {
	p := open(b, pgtest.DSN(b), 64)
	hold(b, p, 64)()
	for b.Loop() {
		p.Snapshot()
	}
}

// BenchmarkScrape is a whole scrape over HTTP.
func BenchmarkScrape(b *testing.B) {
	p := open(b, pgtest.DSN(b), 64)
	hold(b, p, 64)()
	server := httptest.NewServer(Handler(New(p, Options{})))
	defer server.Close()
	for b.Loop() {
		get(b, server.URL)
	}
}

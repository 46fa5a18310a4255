package ingest

import (
	"fmt"
	"strings"
	"testing"
)

// seriesOf is one series of a metric, from the second 1700000000 on, every 10 s. An
// empty value is missing.
func seriesOf(name string, values ...string) string {
	var points []string
	for i, v := range values {
		if v != "" {
			points = append(points, fmt.Sprintf("[%d,%q]", 1700000000+10*i, v))
		}
	}
	return fmt.Sprintf(`{"metric":{"__name__":%q},"values":[%s]}`, name, strings.Join(points, ","))
}

func matrixOf(all ...string) string {
	return `{"status":"success","data":{"resultType":"matrix","result":[` + strings.Join(all, ",") + "]}}"
}

func TestSeveralSeriesOfAMetricAreJoinedAsTheirColumnIs(t *testing.T) {
	two := matrixOf(seriesOf("x", "30", "2"), seriesOf("x", "10", "", "4"))
	for _, c := range []struct{ column, rows, note string }{
		{"rate_rps", "0,10,40\n10,10,2\n20,10,4\n", ""},
		{"waiting", "0,10,40\n10,10,2\n20,10,4\n", ""},
		{"limit", "0,10,40\n10,10,2\n20,10,4\n", ""},
		{"service_ms_mean", "0,10,20\n10,10,2\n20,10,4\n", "service_ms_mean is of the 2 series of x the plain mean"},
		{"wait_ms_mean", "0,10,20\n10,10,2\n20,10,4\n", "wait_ms_mean is of the 2 series of x the plain mean"},
		{"others", "0,10,30\n10,10,2\n20,10,4\n", "others is of the 2 series of x the greatest"},
		{"cpu_util", "0,10,30\n10,10,2\n20,10,4\n", "cpu_util is of the 2 series of x the greatest"},
	} {
		text, res, err := imported(Options{Columns: c.column + "=x"}, two)
		if notes := strings.Join(res.Notes, "\n"); err != nil || rowsOf(text) != c.rows || !strings.Contains(notes, c.note) || c.note == "" && strings.Contains(notes, "series") {
			t.Errorf("%s: %v, %q\n%s", c.column, err, res.Notes, text)
		}
	}
	for _, column := range []string{"service_ms_cv", "ia_cv"} {
		if text, _, err := imported(Options{Columns: column + "=x"}, two); err == nil || !strings.Contains(err.Error(), column+" is x, of which there are 2 series: what it is of all, they do not tell") || text != "" {
			t.Errorf("%s: %v", column, err)
		}
		if _, _, err := imported(Options{Columns: column + "=x"}, matrixOf(seriesOf("x", "1", "2"))); err != nil {
			t.Errorf("%s of one series: %v", column, err)
		}
	}
}

func TestTimesOfPrometheusAreInTheirUnit(t *testing.T) {
	for _, c := range []struct{ name, columns, value, note string }{
		{"job_latency_seconds", "service_ms_mean=job_latency_seconds", "1500", "in units of 1s by its name, times 1000"},
		{"job:wait_seconds:mean5m", "wait_ms_mean=job:wait_seconds:mean5m", "1500", "in units of 1s by its name"},
		{"took_microseconds", "service_ms_mean=took_microseconds", "0.0015", "in units of 1µs by its name"},
		{"took_milliseconds", "service_ms_mean=took_milliseconds", "1.5", ""},
		{"took", "service_ms_mean=took", "1.5", "taken to be in ms, which its name does not tell: if it is in seconds, say service_ms_mean=took:s"},
		{"took", "service_ms_mean=took:s", "1500", ""},
		{"job:took", "service_ms_mean=job:took:us", "0.0015", ""},
		{"job_latency_seconds", "service_ms_mean=job_latency_seconds:ms", "1.5", ""},
		{"job:s", "service_ms_mean=job:s", "1.5", "taken to be in ms"},
		{"uptime_seconds", "active=uptime_seconds", "1.5", ""},
		{"took_seconds_sum", "service_ms_mean=took_seconds_sum:gauge", "1500", "in units of 1s by its name"},
	} {
		text, res, err := imported(Options{Columns: c.columns}, matrixOf(seriesOf(c.name, "1.5", "0")))
		notes := strings.Join(res.Notes, "\n")
		if want := "0,10," + c.value + "\n10,10,0\n"; err != nil || rowsOf(text) != want || !strings.Contains(notes, c.note) || c.note == "" && strings.Contains(notes, " ms") {
			t.Errorf("%s: %v, %q\n%s", c.columns, err, res.Notes, text)
		}
	}
	for columns, want := range map[string]string{
		"rate_rps=x_sum:s":                   `"rate_rps=x_sum:s" has a unit, and rate_rps is not a time`,
		"service_ms_cv=x_sum:ms":             `service_ms_cv is not a time`,
		"service_ms_mean=x_sum":              "x_sum is a counter, and its growth is not service_ms_mean: query a mean",
		"service_ms_mean=x_sum:s":            "x_sum is a counter, and its growth",
		"wait_ms_mean=x_sum:counter":         "x_sum is a counter, and its growth",
		"service_ms_mean=y:s":                `there is no metric "y"; there are x_sum`,
		"rate_rps=x_sum,service_ms_mean=z:x": `there is no metric "z:x"; there are x_sum`,
	} {
		if text, _, err := imported(Options{Columns: columns}, matrixOf(seriesOf("x_sum", "1", "2"))); err == nil || !strings.Contains(err.Error(), want) || text != "" {
			t.Errorf("%s: %v", columns, err)
		}
	}
}

// What an expression gives has no name, and can be a counter nonetheless.
func TestAMetricWithoutANameIsNamedInWords(t *testing.T) {
	unnamed := strings.ReplaceAll(matrixOf(seriesOf("x", "0", "50", "120")), `"__name__":"x"`, "")
	_, res, err := imported(Options{}, unnamed)
	if notes := strings.Join(res.Notes, "\n"); err != nil || !strings.Contains(notes, "rate_rps is a metric without a name, taken as a gauge, and it never falls: if it is a counter, say rate_rps=:counter") {
		t.Errorf("%v, %q", err, res.Notes)
	}
	text, _, err := imported(Options{Columns: "rate_rps=:counter"}, unnamed)
	if err != nil || rowsOf(text) != "0,10,5\n10,10,7\n" {
		t.Errorf("as the note says: %v\n%s", err, text)
	}
}

// The ranges of two queries include both ends, and may overlap by more. Another server is
// no repeat, whatever it says.
func TestASeriesInTwoFilesCountsOnce(t *testing.T) {
	later := func(file string) string { return strings.NewReplacer("[17000000", "[17000001").Replace(file) }
	shop, blog := seriesOf("x", "3", "3", "4"), strings.Replace(seriesOf("x", "3", "3", "4"), "{\"__name__\"", `{"pod":"blog","__name__"`, 1)
	for _, c := range []struct {
		name, columns string
		files         []string
		rows          string
		note          string
	}{
		{"the same range twice", "rate_rps=x", []string{matrixOf(shop), matrixOf(shop)}, "0,10,3\n10,10,3\n20,10,4\n", "3 values are there more than once"},
		{"another server", "rate_rps=x", []string{matrixOf(shop), matrixOf(blog)}, "0,10,6\n10,10,6\n20,10,8\n", ""},
		{"both, and one of them again", "rate_rps=x", []string{matrixOf(shop, blog), matrixOf(blog)}, "0,10,6\n10,10,6\n20,10,8\n", "3 values are there more than once"},
		{"a counter over two ranges", "rate_rps=q_total", []string{matrixOf(seriesOf("q_total", "0", "50", "70")), matrixOf(seriesOf("q_total", "", "", "70", "100"))}, "0,10,5\n10,10,2\n20,10,3\n", "1 values are there more than once"},
		{"a metric in each file", "rate_rps=x,active=y", []string{matrixOf(shop), matrixOf(seriesOf("y", "1", "2", "1"))}, "0,10,1,3\n10,10,2,3\n20,10,1,4\n", ""},
		{"one after the other", "rate_rps=x", []string{later(matrixOf(shop)), matrixOf(shop)}, "0,10,3\n10,10,3\n20,10,4\n100,10,3\n110,10,3\n120,10,4\n", ""},
	} {
		text, res, err := imported(Options{Columns: c.columns}, c.files...)
		if notes := strings.Join(res.Notes, "\n"); err != nil || rowsOf(text) != c.rows || !strings.Contains(notes, c.note) || (c.note == "") == strings.Contains(notes, "more than once") {
			t.Errorf("%s: %v, %q\n%s", c.name, err, res.Notes, text)
		}
	}
}

// The growth over a gap is not that of the one step its row is of.
func TestArrivalsOfAGapAreThoseOfOneStep(t *testing.T) {
	for _, c := range []struct {
		name, column, rows string
		values             []string
		gap                bool
	}{
		{"no gap", "arrivals", "0,10,50\n10,10,70\n", []string{"0", "50", "120"}, false},
		{"four steps", "arrivals", "0,10,50\n10,10,30\n50,10,7\n", []string{"0", "50", "", "", "", "170", "177"}, true},
		{"four steps, a rate", "rate_rps", "0,10,5\n10,10,3\n50,10,0.7\n", []string{"0", "50", "", "", "", "170", "177"}, false},
		{"a gap and a new begin", "arrivals", "0,10,50\n10,10,20\n30,10,7\n", []string{"0", "50", "", "40", "47"}, true},
	} {
		text, res, err := imported(Options{Columns: c.column + "=q_total"}, matrixOf(seriesOf("q_total", c.values...)))
		if said := strings.Contains(strings.Join(res.Notes, "\n"), "Of 1 gaps in the data"); err != nil || rowsOf(text) != c.rows || said != c.gap {
			t.Errorf("%s: %v, %q\n%s", c.name, err, res.Notes, text)
		}
	}
}

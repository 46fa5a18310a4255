package dashboard_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser is a tab of a headless Chromium that notes what the page says and asks for.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	console  []string // guarded by mu: everything in the console, exceptions included
	requests []string // guarded by mu: addresses
	away     bool     // guarded by mu: refused connections are expected
}

// chromium finds the program, or skips the test saying how to get it.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("no Chromium on this machine; to run this test: sudo apt-get install chromium (Debian), or any Chrome in PATH")
	return ""
}

func openBrowser(t *testing.T) *browser {
	t.Helper()
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(chromium(t)), chromedp.UserDataDir(t.TempDir()), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true), chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.WindowSize(1280, 900),
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancelTab := chromedp.NewContext(ctx)
	t.Cleanup(cancelTab)
	ctx, cancelLate := context.WithTimeout(ctx, 5*time.Minute)
	t.Cleanup(cancelLate)
	b := &browser{t: t, ctx: ctx}
	if err := chromedp.Listen(ctx, b.note); err != nil {
		t.Fatal(err)
	}
	call(b, log.Enable, cdp.Empty{})
	call(b, network.Enable, network.EnableParams{})
	call(b, runtime.Enable, cdp.Empty{})
	return b
}

func (b *browser) note(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		text := string(e.Type)
		for _, a := range e.Args {
			text += " " + string(a.Value) + a.Description
		}
		b.console = append(b.console, text)
	case *runtime.EventExceptionThrown:
		text := "exception: " + e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += " " + e.ExceptionDetails.Exception.Description
		}
		b.console = append(b.console, text)
	case *log.EventEntryAdded:
		if b.away && e.Entry.Source == log.EntrySourceNetwork && strings.Contains(e.Entry.Text, "ERR_") {
			return // the server was taken away on purpose
		}
		b.console = append(b.console, fmt.Sprintf("%s %s: %s (%s)", e.Entry.Level, e.Entry.Source, e.Entry.Text, e.Entry.URL))
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, e.Request.URL)
	}
}

// quiet checks that nothing was in the console and no request left the origin.
func (b *browser) quiet(origin string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, line := range b.console {
		b.t.Errorf("in the console: %s", line)
	}
	if len(b.requests) < 5 { // page, style, scripts, events
		b.t.Errorf("only these requests were seen: %q", b.requests)
	}
	for _, address := range b.requests {
		if u, err := url.Parse(address); err != nil || u.Scheme+"://"+u.Host != origin {
			b.t.Errorf("a request to %s", address)
		}
	}
}

func (b *browser) setAway(away bool) {
	b.mu.Lock()
	b.away = away
	b.mu.Unlock()
}

func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// call gives the browser a command.
func call[P, R any](b *browser, command cdp.Command[P, R], params P) R {
	b.t.Helper()
	result, err := chromedp.Call(b.ctx, command, params)
	if err != nil {
		b.t.Fatal(err)
	}
	return result
}

// eval is the value of a JavaScript expression.
func eval[T any](b *browser, js string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](js, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v", js, err)
	}
	return v
}

// until polls an expression until it is true.
func (b *browser) until(what, js string) {
	b.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !eval[bool](b, js) {
		select {
		case <-deadline:
			b.t.Fatalf("%s: not within %s (%s)\nconsole: %q\npage:\n%s", what, patience, js, b.console, eval[string](b, "document.body.innerText"))
		case <-tick.C:
		}
	}
}

// shoot saves screenshots of the whole page in both schemes at a width, where
// AUTOTUNE_TEST_SCREENSHOTS names a folder for them.
func (b *browser) shoot(name string, width, height int64) {
	b.t.Helper()
	folder := os.Getenv("AUTOTUNE_TEST_SCREENSHOTS")
	if folder == "" {
		return
	}
	for _, scheme := range []string{"light", "dark"} {
		call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1, Mobile: width < 600})
		call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
		eval[int](b, "new Promise(r => setTimeout(() => requestAnimationFrame(() => r(1)), 1200))") // until it is drawn anew
		png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
		if err != nil {
			b.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%s-%d-%s.png", name, width, scheme)), png, 0o644); err != nil {
			b.t.Fatal(err)
		}
	}
	b.asPhone(0)
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{})
}

// asPhone makes the page as wide as a phone; 0: as it was.
func (b *browser) asPhone(width int64) {
	b.t.Helper()
	call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 2 * width, Mobile: width > 0})
}

// tile is an expression for the number in the nth tile.
func tile(n int) string {
	return fmt.Sprintf(`Number((document.querySelectorAll('#tiles dd')[%d]?.firstChild?.textContent ?? 'x').replaceAll(',', ''))`, n)
}

func itoa(n int) string { return fmt.Sprint(n) }

package dashboard

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"io/fs"
	"net/http"
	"path"
)

//go:embed page
var pageFiles embed.FS

// asset is a file of the page.
type asset struct {
	body        []byte
	contentType string
	tag         string // for a browser that has it already
}

// contentTypes are set by hand: what mime knows depends on the machine.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// pageAssets are the files by the name they are asked for.
var pageAssets = func() map[string]asset {
	assets := map[string]asset{}
	files, err := fs.Glob(pageFiles, "page/*")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	for _, file := range files {
		body, err := pageFiles.ReadFile(file)
		if err != nil {
			panic(err) // it is in the program
		}
		sum := sha256.Sum256(body)
		a := asset{body: body, contentType: contentTypes[path.Ext(file)], tag: `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`}
		assets[path.Base(file)] = a
	}
	assets[""] = assets["index.html"]
	return assets
}()

// serveAsset answers with a file of the page. A browser may keep it and has to
// ask whether it is still the same: a new version of the program shows at once.
func (h *Handler) serveAsset(w http.ResponseWriter, r *http.Request, name string) {
	a, ok := h.assets[name]
	if !ok {
		http.Error(w, "there is nothing of this name here", http.StatusNotFound)
		return
	}
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", a.tag)
	if r.Header.Get("If-None-Match") == a.tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", a.contentType)
	_, _ = w.Write(a.body) // a browser that went away needs no answer
}

package patch

import (
	"fmt"
	"path"
	"strings"

	"github.com/zricethezav/gitleaks/v8/cmd/scm"
	"github.com/zricethezav/gitleaks/v8/report"
	"github.com/zricethezav/gitleaks/v8/sources"
)

// form is how a host of repositories writes the address of lines of a file.
type form struct {
	path      string // between the repository and the commit
	toFile    string // between the commit and the path
	plain     string // what shows a document's source instead of the document
	first     string // before the first line
	last      string // before the last line, when it is another one
	afterward string
}

var forms = map[scm.Platform]form{
	scm.GitHubPlatform:    {path: "/blob/", toFile: "/", plain: "?plain=1", first: "#L", last: "-L"},
	scm.GitLabPlatform:    {path: "/blob/", toFile: "/", first: "#L", last: "-"},
	scm.GiteaPlatform:     {path: "/src/commit/", toFile: "/", plain: "?display=source", first: "#L", last: "-L"},
	scm.BitbucketPlatform: {path: "/src/", toFile: "/", first: "#lines-", last: ":"},
	scm.AzureDevOpsPlatform: {
		path: "/commit/", toFile: "?path=/", first: "&line=", last: "&lineEnd=",
		afterward: "&lineStartColumn=1&lineEndColumn=10000000&type=2&lineStyle=plain&_a=files",
	},
}

var linkEscapes = strings.NewReplacer(" ", "%20", "%", "%25")

// link is the address at which a person can see a finding, in gitleaks' form;
// "" where that is not known.
func link(remote *sources.RemoteInfo, f *report.Finding) string {
	if remote == nil || f.Commit == "" {
		return ""
	}
	to, ok := forms[remote.Platform]
	if !ok {
		return ""
	}
	file, _, inArchive := strings.Cut(f.File, sources.InnerPathSeparator)
	file = linkEscapes.Replace(file)
	out := remote.Url + to.path + f.Commit + to.toFile + file
	if inArchive {
		return out
	}
	switch strings.ToLower(path.Ext(file)) {
	case ".md", ".ipynb":
		out += to.plain
	}
	if f.StartLine != 0 {
		out += fmt.Sprintf("%s%d", to.first, f.StartLine)
	}
	if f.EndLine != f.StartLine {
		out += fmt.Sprintf("%s%d", to.last, f.EndLine)
	}
	return out + to.afterward
}

package aws

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

type doer func(*http.Request) (*http.Response, error)

func (d doer) Do(r *http.Request) (*http.Response, error) { return d(r) }

// TestPlainBodies lets net/http reach the end of a body, closed or not, and
// nothing but by reading it.
func TestPlainBodies(t *testing.T) {
	r, err := http.NewRequest(http.MethodPost, "https://sts.amazonaws.com/", strings.NewReader("Action=GetCallerIdentity"))
	if err != nil {
		t.Fatal(err)
	}
	_, writes := r.Body.(io.WriterTo)
	if !writes {
		t.Fatal("the body cannot write itself, and the test shows nothing")
	}
	_, err = plainBodies{doer(func(r *http.Request) (*http.Response, error) {
		_, writes := r.Body.(io.WriterTo)
		if writes {
			t.Error("the body can still write itself")
		}
		b, err := io.ReadAll(r.Body)
		if string(b) != "Action=GetCallerIdentity" || err != nil {
			t.Errorf("body %q, %v", b, err)
		}
		return &http.Response{}, nil
	})}.Do(r)
	if err != nil {
		t.Fatal(err)
	}
}

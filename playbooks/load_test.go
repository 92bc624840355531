package playbooks

import "testing"

func TestEmbeddedLoad(t *testing.T) {
	s, err := Load("")
	if err != nil {
		t.Fatal(err)
	}
	if len(s.All()) < 2 {
		t.Fatal("want aws and github")
	}
}

package cloudtrail

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParse(t *testing.T) {
	const head = `"eventID":"1","eventTime":"2026-03-01T12:00:00Z","eventSource":"sts.amazonaws.com"`
	for _, c := range []struct {
		name, in string
		check    func(t *testing.T, out string)
		fails    bool
	}{
		{name: "denied", in: `{` + head + `,"eventName":"X","errorCode":"Client.UnauthorizedOperation"}`, check: has(`"denied":true`)},
		{name: "throttled", in: `{` + head + `,"eventName":"X","errorCode":"ThrottlingException"}`, check: has(`"denied":false`)},
		{name: "failed console login", in: `{` + head + `,"eventName":"ConsoleLogin","responseElements":{"ConsoleLogin":"Failure"}}`, check: has(`"denied":true`)},
		{name: "session minted", in: `{` + head + `,"eventName":"AssumeRole","responseElements":{"credentials":{"accessKeyId":"ASIA1","sessionToken":"CANARY"}}}`, check: has(`"minted":"ASIA1"`)},
		{name: "key made", in: `{` + head + `,"eventName":"CreateAccessKey","responseElements":{"accessKey":{"accessKeyId":"AKIA1","secretAccessKey":"CANARY"}}}`, check: has(`"created":["AKIA1"]`)},
		{name: "key names in any case and depth", in: `{` + head + `,"eventName":"X","requestParameters":{"a":[{"SESSION_Token":"CANARY"}],"Password":"CANARY","tokenCode":"CANARY","secretString":"CANARY","name":"kept"}}`, check: has(`"name":"kept"`)},
		{name: "token in another field", in: `{` + head + `,"eventName":"X","userAgent":"x IQoJb3JpZ2luCANARY","requestParameters":{"name":"Bearer CANARY"}}`, check: has(`"operation":"X"`)},
		{name: "service made", in: `{` + head + `,"eventName":"X","userIdentity":{"invokedBy":"cloudformation.amazonaws.com"}}`, check: has(`"invoked_by":"cloudformation.amazonaws.com"`)},
		{name: "from the console", in: `{` + head + `,"eventName":"X","sessionCredentialFromConsole":"true"}`, check: has(`"from_console":"true"`)},
		{name: "database password", in: `{` + head + `,"eventName":"ModifyDBInstance","requestParameters":{"masterUserPassword":"CANARY"}}`, check: has(`"master_password":"changed"`)},
		{name: "parameters of no list are not kept", in: `{` + head + `,"eventName":"X","requestParameters":{"whatever":"CANARY"}}`, check: has(`"operation":"X"`)},
		{name: "wrong types", in: `{` + head + `,"eventName":"X","userIdentity":[],"requestParameters":"x","responseElements":7,"resources":{}}`, check: has(`"operation":"X"`)},
		{name: "long value", in: `{` + head + `,"eventName":"X","userAgent":"` + strings.Repeat("ä", 500) + `"}`, check: func(t *testing.T, out string) {
			if len(out) > 1000 {
				t.Errorf("%d bytes kept", len(out))
			}
		}},
		{name: "no JSON", in: `CANARY`, fails: true},
		{name: "no id", in: `{"eventName":"X","eventSource":"s","eventTime":"2026-03-01T12:00:00Z"}`, fails: true},
		{name: "no time", in: `{"eventID":"1","eventName":"X","eventSource":"s"}`, fails: true},
		{name: "too large", in: `{"a":"` + strings.Repeat("x", maxEventBytes) + `"}`, fails: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, err := Parse([]byte(c.in))
			if (err != nil) != c.fails {
				t.Fatalf("error %v, want one: %v", err, c.fails)
			}
			out, _ := json.Marshal(e)
			if strings.Contains(string(out), "CANARY") || err != nil && strings.Contains(err.Error(), "CANARY") {
				t.Errorf("a secret is kept: %s %v", out, err)
			}
			if c.check != nil {
				c.check(t, string(out))
			}
		})
	}
}

func has(want string) func(*testing.T, string) {
	return func(t *testing.T, out string) {
		t.Helper()
		if !strings.Contains(out, want) {
			t.Errorf("no %s in %s", want, out)
		}
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob(filepath.Join(stratusDir, "*.json"))
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		var list []json.RawMessage
		err = json.Unmarshal(data, &list)
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(list[0]))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := Parse(data)
		if err != nil {
			if e.ID != "" {
				t.Error("an event beside an error")
			}
			return
		}
		out, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(out), "IQoJb3JpZ2lu") {
			t.Errorf("a session token is kept: %s", out)
		}
		if !utf8.ValidString(e.UserAgent) || len(e.UserAgent) > maxValueBytes+4 || len(e.Created) > maxList || len(e.Resources) > maxList+10 {
			t.Errorf("not bounded: %d %d %d", len(e.UserAgent), len(e.Created), len(e.Resources))
		}
	})
}

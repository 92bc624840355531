package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"stanch/internal/service"
	"stanch/responder/incident"
)

type respondCmd struct {
	configFlag
	Provider string        `required:"" help:"Whose credential it is, for example aws or github."`
	Kind     string        `help:"Kind of credential, where the value does not tell it; 'stanch playbook list' shows them."`
	Mode     string        `enum:",observe,approve,act" default:"" help:"observe, approve or act; by default what the policy says."`
	Public   bool          `help:"The credential was exposed to everyone."`
	Where    string        `help:"Where it leaked, for the report." placeholder:"TEXT"`
	Wait     time.Duration `help:"How long to wait for the end; a proof of death may take 5 minutes." default:"6m"`
	Format   string        `enum:"text,json" default:"text" help:"Output: text or json."`
}

func (c *respondCmd) Help() string {
	return "Exit codes: 0 the playbook ran to its end in this mode; 2 usage or configuration; 3 a person must go on, or death is not proved yet; 4 the provider did not answer in time. " +
		"Reads a credential that leaked elsewhere from standard input and runs its playbook. AWS: a JSON object with access_key_id, secret_access_key and, for a session, session_token. " +
		"Other kinds: the bare token, or a JSON object of part names and values. Never give a secret as an argument."
}

// maxCredential bounds standard input; a service-account file has a few KB.
const maxCredential = 64 << 10

func (c *respondCmd) Run(rt *runtime) error {
	input, err := io.ReadAll(io.LimitReader(interruptible{rt.ctx, rt.stdin}, maxCredential+1))
	if err != nil {
		return fail(exitUsage, err)
	}
	if len(input) > maxCredential {
		return fail(exitUsage, errors.New("the credential on standard input is longer than 64 KiB"))
	}
	defer clear(input)
	if len(bytes.TrimSpace(input)) == 0 {
		return fail(exitUsage, errors.New("no credential on standard input"), "pipe it in: printf %s \"$TOKEN\" | stanch respond --provider "+c.Provider)
	}
	svc, err := c.open(rt, true)
	if err != nil {
		return err
	}
	defer svc.Close() //nolint:errcheck // everything is stored
	d, err := svc.Respond(rt.ctx, service.Handed{
		Provider: c.Provider, Kind: c.Kind, Mode: incident.Mode(c.Mode), Public: c.Public, Where: c.Where, By: actor(), Input: input,
	}, c.Wait)
	var bad *service.InputError
	if errors.As(err, &bad) {
		return fail(exitUsage, err, bad.Hint)
	}
	if err != nil {
		return err
	}
	if c.Format == "json" {
		err = json.NewEncoder(rt.stdout).Encode(d)
		if err != nil {
			return err
		}
	} else {
		printDetail(rt.stdout, d)
	}
	switch d.State {
	case incident.StateProved, incident.StateNotLive, incident.StateObserved, incident.StateWaiting, incident.StateDenied:
		return nil
	case incident.StatePerson:
		return fail(exitPartial, fmt.Errorf("a person must go on: %s", d.StateWhy), "the report lists the steps: stanch incident report "+d.ID)
	}
	why := fmt.Sprintf("not finished within %s: the incident is %s", c.Wait, d.State)
	for _, x := range d.Retrying {
		why += fmt.Sprintf("; %s, attempt %d: %s", x.Step, x.Attempts, service.Inert(x.Error))
	}
	code := exitProvider
	if d.Contained {
		code = exitPartial
	}
	return fail(code, errors.New(why), "'stanch serve' goes on with it, and so does 'stanch respond' with the same credential; 'stanch incident show "+d.ID+"' shows where it stands")
}

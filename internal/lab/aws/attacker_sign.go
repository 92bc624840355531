package labaws

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/smithy-go"
)

// signed posts to a service that the module has no client for. Errors are
// smithy.APIError, as the clients' are.
func (a *Attacker) signed(ctx context.Context, l *loot, service, region, target, body string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.o.Endpoint+"/", strings.NewReader(body))
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	if target != "" {
		r.Header.Set("Content-Type", "application/x-amz-json-1.1")
		r.Header.Set("X-Amz-Target", target)
	}
	sum := sha256.Sum256([]byte(body))
	credentials, err := provider(l.key).Retrieve(ctx)
	if err != nil {
		return err
	}
	err = v4.NewSigner().SignHTTP(ctx, credentials, r, hex.EncodeToString(sum[:]), service, region, time.Now())
	if err != nil {
		return fmt.Errorf("sign request: %w", err)
	}
	response, err := a.http.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return err
	}
	if response.StatusCode == http.StatusOK {
		return nil
	}
	if target != "" {
		var e struct {
			Type    string `json:"__type"`
			Message string `json:"message"`
		}
		err = json.Unmarshal(answer, &e)
		if err != nil {
			return fmt.Errorf("read error: %w", err)
		}
		return &smithy.GenericAPIError{Code: e.Type, Message: e.Message}
	}
	var e struct {
		Code    string `xml:"Errors>Error>Code"`
		Message string `xml:"Errors>Error>Message"`
	}
	err = xml.Unmarshal(answer, &e)
	if err != nil {
		return fmt.Errorf("read error: %w", err)
	}
	return &smithy.GenericAPIError{Code: e.Code, Message: e.Message}
}

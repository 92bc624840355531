package labaws

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// apiError is a refusal in AWS's words; the code is the wire code of the query
// protocol, translated for the services that speak another one.
type apiError struct {
	code    string
	status  int
	message string
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

func fail(status int, code, format string, args ...any) *apiError {
	return &apiError{code: code, status: status, message: fmt.Sprintf(format, args...)}
}

func noSuch(kind, name string) *apiError {
	return fail(http.StatusNotFound, "NoSuchEntity", "The %s with name %s cannot be found.", kind, name)
}

// node is an element of an XML answer.
type node struct {
	name string
	text string
	kids []node
}

func el(name string, kids ...any) node {
	n := node{name: name}
	for _, k := range kids {
		switch k := k.(type) {
		case node:
			n.kids = append(n.kids, k)
		case []node:
			n.kids = append(n.kids, k...)
		case time.Time:
			n.text = k.UTC().Format("2006-01-02T15:04:05Z")
		default:
			n.text = fmt.Sprint(k)
		}
	}
	return n
}

// members wraps items in the list shape of the query protocol.
func members(name string, items []node) node {
	n := node{name: name}
	for _, item := range items {
		item.name = "member"
		n.kids = append(n.kids, item)
	}
	return n
}

func (n node) write(b *strings.Builder) {
	if n.name == "" {
		return
	}
	b.WriteString("<" + n.name + ">")
	_ = xml.EscapeText(b, []byte(n.text))
	for _, k := range n.kids {
		k.write(b)
	}
	element, _, _ := strings.Cut(n.name, " ")
	b.WriteString("</" + element + ">")
}

func document(root node) []byte {
	var b strings.Builder
	b.WriteString(xml.Header)
	root.write(&b)
	return []byte(b.String())
}

// reply is what an operation answers.
type reply struct {
	result   []node         // XML: children of the result element
	json     map[string]any // JSON services
	raw      []byte         // S3 objects
	elements map[string]any // CloudTrail responseElements
}

// answer is a finished HTTP response.
type answer struct {
	status      int
	contentType string
	header      map[string]string
	body        []byte
}

const xmlns = `xmlns="https://`

var namespaces = map[string]string{
	"iam": "iam.amazonaws.com/doc/2010-05-08/",
	"sts": "sts.amazonaws.com/doc/2011-06-15/",
	"ec2": "ec2.amazonaws.com/doc/2016-11-15/",
}

// render puts a result or refusal into the wire shape of c's service.
func (c *call) render(r reply, refusal *apiError) answer {
	a := answer{status: http.StatusOK, contentType: "text/xml"}
	if refusal != nil {
		a.status = refusal.status
	}
	switch c.service {
	case "cloudtrail", "secretsmanager":
		a.contentType = "application/x-amz-json-1.1"
		if refusal != nil {
			if a.status < 500 {
				a.status = http.StatusBadRequest
			}
			return c.jsonError(a, refusal)
		}
		a.body, _ = json.Marshal(r.json)
	case "account":
		a.contentType = "application/json"
		if refusal != nil {
			return c.jsonError(a, refusal)
		}
		a.body, _ = json.Marshal(r.json)
	case "s3":
		a.contentType = "application/xml"
		switch {
		case refusal != nil:
			a.body = document(el("Error", el("Code", c.wireCode(refusal)), el("Message", refusal.message),
				el("RequestId", c.requestID), el("HostId", "laboratory")))
		case r.raw != nil:
			a.contentType = "binary/octet-stream"
			a.body = r.raw
		default:
			a.body = document(el("ListAllMyBucketsResult "+xmlns+`s3.amazonaws.com/doc/2006-03-01/"`, r.result))
		}
	case "ec2":
		if refusal != nil {
			a.body = document(el("Response", el("Errors", el("Error", el("Code", c.wireCode(refusal)), el("Message", refusal.message))),
				el("RequestID", c.requestID)))
			break
		}
		a.body = document(el(c.operation+"Response "+xmlns+namespaces["ec2"]+`"`, el("requestId", c.requestID), r.result))
	default:
		space := xmlns + namespaces[c.service] + `"`
		if refusal != nil {
			sender := "Sender"
			if refusal.status >= 500 {
				sender = "Receiver"
			}
			a.body = document(el("ErrorResponse "+space,
				el("Error", el("Type", sender), el("Code", refusal.code), el("Message", refusal.message)),
				el("RequestId", c.requestID)))
			break
		}
		var result []node
		if len(r.result) > 0 {
			result = []node{el(c.operation+"Result", r.result)}
		}
		a.body = document(el(c.operation+"Response "+space, result, el("ResponseMetadata", el("RequestId", c.requestID))))
	}
	return a
}

func (c *call) jsonError(a answer, refusal *apiError) answer {
	code := c.wireCode(refusal)
	a.header = map[string]string{"X-Amzn-ErrorType": code}
	a.body, _ = json.Marshal(map[string]string{"__type": code, "message": refusal.message})
	return a
}

// wireCode translates the query protocol's code to the service's own.
func (c *call) wireCode(e *apiError) string {
	return translate(c.service, e.code)
}

func translate(service, code string) string {
	var m map[string]string
	switch service {
	case "cloudtrail", "secretsmanager", "account":
		m = map[string]string{
			"InvalidClientTokenId": "UnrecognizedClientException", "SignatureDoesNotMatch": "InvalidSignatureException",
			"ExpiredToken": "ExpiredTokenException", "AccessDenied": "AccessDeniedException",
			"MissingAuthenticationToken": "MissingAuthenticationTokenException", "IncompleteSignature": "IncompleteSignatureException",
			"Throttling": "ThrottlingException", "ServiceFailure": "InternalFailure",
			"ServiceUnavailable": "ServiceUnavailableException", "InvalidAction": "UnknownOperationException",
		}
		if service == "account" {
			m["Throttling"], m["ServiceFailure"] = "TooManyRequestsException", "InternalServerException"
		}
	case "s3":
		m = map[string]string{
			"InvalidClientTokenId": "InvalidAccessKeyId", "MissingAuthenticationToken": "AccessDenied",
			"Throttling": "SlowDown", "ServiceFailure": "InternalError", "InvalidAction": "NotImplemented",
		}
	case "ec2":
		m = map[string]string{
			"InvalidClientTokenId": "AuthFailure", "SignatureDoesNotMatch": "AuthFailure", "ExpiredToken": "RequestExpired",
			"AccessDenied": "UnauthorizedOperation", "Throttling": "RequestLimitExceeded", "ServiceFailure": "InternalError",
			"ServiceUnavailable": "Unavailable",
		}
	}
	if t, ok := m[code]; ok {
		return t
	}
	return code
}

// encodeDocument is the URL encoding (RFC 3986) in which IAM returns policies.
func encodeDocument(text string) string {
	return strings.ReplaceAll(url.QueryEscape(text), "+", "%20")
}

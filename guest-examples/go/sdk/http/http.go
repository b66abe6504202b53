// Package http calls other services, as far as the rule grants host, method and path.
package http

import (
	"strings"

	"triggerbox"
	"triggerbox/host/http"
	wit "triggerbox/wit/types"
)

// Header is a header of a request. Value may hold ${secret:NAME}.
type Header struct{ Name, Value string }

// Request is a request; Method is upper case.
type Request struct {
	Method, URL string
	Headers     []Header
	Body        []byte
}

// Response is what the service answered.
type Response struct {
	// Status is 100 to 599: any is an answer.
	Status int
	// Headers are in the order of the answer.
	Headers []Header
	Body    []byte
}

// Send sends a request.
func Send(request Request) (Response, error) {
	headers := make([]wit.Tuple2[string, string], 0, len(request.Headers))
	for _, header := range request.Headers {
		headers = append(headers, wit.Tuple2[string, string]{F0: header.Name, F1: header.Value})
	}
	answer, err := triggerbox.Checked(triggerbox_automation_http.Send(triggerbox_automation_http.Request{
		Method: request.Method, Url: request.URL, Headers: headers, Body: request.Body,
	}))
	response := Response{Status: int(answer.Status), Body: answer.Body}
	for _, header := range answer.Headers {
		response.Headers = append(response.Headers, Header{header.F0, header.F1})
	}
	return response, err
}

// Get sends a request without a body.
func Get(url string, headers ...Header) (Response, error) {
	return Send(Request{Method: "GET", URL: url, Headers: headers})
}

// Post sends a request with a body.
func Post(url string, body []byte, headers ...Header) (Response, error) {
	return Send(Request{Method: "POST", URL: url, Headers: headers, Body: body})
}

// Header is a header's value, its name in any case; empty for none.
func (response Response) Header(name string) string {
	for _, header := range response.Headers {
		if strings.EqualFold(header.Name, name) {
			return header.Value
		}
	}
	return ""
}

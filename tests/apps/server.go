// tests/apps/server.go — an HTTP server that says whom it answers, and sends back what it is sent.
//
//	server PORT
package main

import "C"

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("/", func(answer http.ResponseWriter, request *http.Request) {
		if request.Method == http.MethodPost {
			io.Copy(answer, request.Body)
			return
		}
		host, port, _ := net.SplitHostPort(request.RemoteAddr)
		fmt.Fprintf(answer, "local %s %s\n", host, port)
	})
	fmt.Fprintln(os.Stderr, http.ListenAndServe(":"+os.Args[1], nil))
	os.Exit(1)
}

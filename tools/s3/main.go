// An S3 server in memory, for the tests of the blob store: an implementation that others use and that checks signatures. Listens on a port of
// loopback that it chooses and prints, and ends when its standard input does.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	"github.com/rclone/gofakes3"
	"github.com/rclone/gofakes3/s3mem"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: s3 BUCKET ACCESS_KEY_ID SECRET_ACCESS_KEY")
		os.Exit(2)
	}
	bucket, accessKeyID, secretAccessKey := os.Args[1], os.Args[2], os.Args[3]
	backend := s3mem.New()
	if err := backend.CreateBucket(context.Background(), bucket); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("http://%s\n", listener.Addr())
	server := gofakes3.New(backend, gofakes3.WithV4Auth(map[string]string{accessKeyID: secretAccessKey}))
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	fmt.Fprintln(os.Stderr, http.Serve(listener, server.Server()))
	os.Exit(1)
}

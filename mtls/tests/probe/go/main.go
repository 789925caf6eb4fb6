// Dials a server as Go's client does, with a certificate, and prints what became of it.
package main

import (
	"crypto/tls"
	"fmt"
	"os"
)

func main() {
	ours, err := tls.LoadX509KeyPair(os.Args[2], os.Args[3])
	if err != nil {
		panic(err)
	}
	// Who the server is does not matter here.
	config := &tls.Config{Certificates: []tls.Certificate{ours}, InsecureSkipVerify: true}
	conn, err := tls.Dial("tcp", os.Args[1], config)
	if err == nil {
		_, err = conn.Write([]byte("x"))
	}
	// In TLS 1.3 the server's word on a certificate comes after the handshake.
	if err == nil {
		_, err = conn.Read(make([]byte, 1))
	}
	fmt.Println(err)
}

// A client by Go's crypto/tls that keeps its sessions while its certificate is replaced.
//
//	main ADDRESS CA VERSION
//
// Each line of standard input names a certificate and its key; three connections are made with them, by sessions of
// earlier ones where the server takes them. A line each says what came of it.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

func main() {
	address, bundle, version := os.Args[1], os.Args[2], os.Args[3]
	pem, err := os.ReadFile(bundle)
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	var own tls.Certificate
	config := &tls.Config{
		RootCAs:            roots,
		ServerName:         "localhost",
		ClientSessionCache: tls.NewLRUClientSessionCache(16),
		MinVersion:         tls.VersionTLS12,
		MaxVersion:         tls.VersionTLS13,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &own, nil
		},
	}
	if version == "1.2" {
		config.MaxVersion = tls.VersionTLS12
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		chain, key, _ := strings.Cut(lines.Text(), " ")
		if own, err = tls.LoadX509KeyPair(chain, key); err != nil {
			panic(err)
		}
		for i := 0; i < 3; i++ {
			answer, err := get(address, config)
			if err != nil {
				answer = "refused: " + err.Error()
			}
			fmt.Println(answer)
		}
		fmt.Println("done")
	}
}

// In TLS 1.3 a client learns by reading whether it was let in, and gets its tickets so.
func get(address string, config *tls.Config) (string, error) {
	conn, err := tls.Dial("tcp", address, config)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	request := "GET /whoami HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
	if _, err = io.WriteString(conn, request); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(conn)
	if err != nil && len(answer) == 0 {
		return "", err
	}
	head, body, _ := strings.Cut(string(answer), "\r\n\r\n")
	status, _, _ := strings.Cut(head, "\r\n")
	kind := "full"
	if conn.ConnectionState().DidResume {
		kind = "resumed"
	}
	return fmt.Sprintf("%s, %s, %s", kind, status, strings.TrimSpace(body)), nil
}

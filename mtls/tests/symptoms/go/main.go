// What Go's crypto/tls says.
//
//	says client ADDRESS CA [CHAIN KEY]    dials, and prints the answer or the error
//	says server CHAIN KEY CA              prints its port, and the error of the first handshake
//	says broken CHAIN KEY CA              the same, and breaks when it is asked for its certificate
package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

func main() {
	if os.Args[1] == "client" {
		answer, err := client(os.Args[2], os.Args[3], os.Args[4:])
		if err != nil {
			answer = err.Error()
		}
		fmt.Println(answer)
		return
	}
	config := &tls.Config{
		Certificates: own(os.Args[2:4]),
		ClientCAs:    pool(os.Args[4]),
		ClientAuth:   tls.RequireAndVerifyClientCert,
	}
	if os.Args[1] == "broken" {
		config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return nil, errors.New("no certificate could be had")
		}
	}
	fmt.Println(server(config))
}

func client(address, ca string, files []string) (string, error) {
	config := &tls.Config{RootCAs: pool(ca), Certificates: own(files), ServerName: "localhost"}
	conn, err := tls.Dial("tcp", address, config)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	// In TLS 1.3 a client learns by reading whether it was let in.
	if _, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(conn)
	return string(answer), err
}

func server(config *tls.Config) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	tcp, err := listener.Accept()
	check(err)
	tcp.SetDeadline(time.Now().Add(30 * time.Second))
	err = tls.Server(tcp, config).Handshake()
	// Whoever was refused is heard to the end, so that no reset overtakes the alert.
	tcp.(*net.TCPConn).CloseWrite()
	io.Copy(io.Discard, tcp)
	return err
}

func own(files []string) []tls.Certificate {
	if len(files) == 0 {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(files[0], files[1])
	check(err)
	return []tls.Certificate{pair}
}

func pool(file string) *x509.CertPool {
	pem, err := os.ReadFile(file)
	check(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return pool
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

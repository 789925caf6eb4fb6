// Verifies a leaf as a TLS server of Go's verifies its client: verify LEAF INTERMEDIATES ROOTS. With a NAME after these it verifies a
// server that was dialled by it. Loads what a program would present: verify pair CHAIN KEY.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
)

func main() {
	if os.Args[1] == "pair" {
		_, err := tls.LoadX509KeyPair(os.Args[2], os.Args[3])
		check(err)
		return
	}
	leaf := read(os.Args[1])[0]
	intermediates, roots := x509.NewCertPool(), x509.NewCertPool()
	for _, certificate := range read(os.Args[2]) {
		intermediates.AddCert(certificate)
	}
	for _, certificate := range read(os.Args[3]) {
		roots.AddCert(certificate)
	}
	options := x509.VerifyOptions{
		Roots:         roots,
		Intermediates: intermediates,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if len(os.Args) > 4 {
		options.DNSName = os.Args[4]
		options.KeyUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	_, err := leaf.Verify(options)
	check(err)
}

func read(name string) []*x509.Certificate {
	rest, err := os.ReadFile(name)
	check(err)
	var all []*x509.Certificate
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return all
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		check(err)
		all = append(all, certificate)
	}
}

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

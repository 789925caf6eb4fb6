// Verifies a leaf as a TLS server of Go's verifies its client: verify LEAF INTERMEDIATES ROOTS.
package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
)

func main() {
	leaf := read(os.Args[1])[0]
	intermediates, roots := x509.NewCertPool(), x509.NewCertPool()
	for _, certificate := range read(os.Args[2]) {
		intermediates.AddCert(certificate)
	}
	for _, certificate := range read(os.Args[3]) {
		roots.AddCert(certificate)
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots:         roots,
		Intermediates: intermediates,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
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

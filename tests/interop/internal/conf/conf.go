// Package conf exists for one name: encoding/gob writes the unqualified names of struct types, but the
// full text of a slice type, and on the wire of family A that text is "[]conf.TCPF".
package conf

// TCPF is one set of TCP flags as family A describes it. Names and order of the fields are wire format.
type TCPF struct {
	FIN, SYN, RST, PSH, ACK, URG, ECE, CWR, NS bool
}

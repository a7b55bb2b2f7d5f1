package main

import (
	"fmt"
	"io"
)

// Types of the header that stands at the start of every stream.
const (
	typePing = 1
	typePong = 2
	typeTCPF = 3 // list of flag sets that the server shall send with
	typeTCP  = 4
	typeUDP  = 5
	typeTUN  = 6 // family A only
)

// header is the message at the start of a stream, independent of its encoding.
type header struct {
	kind  byte
	host  string    // TCP, UDP
	port  int       // TCP, UDP
	flags []flagSet // TCPF

	swallowed int // bytes behind it that were read with it, and are lost
}

// family is what differs between the two families of the original program.
type family struct {
	name        string
	writeHeader func(io.Writer, *header) error
	readHeader  func(io.Reader) (*header, error)
	streamMode  bool // KCP payload mode
	tcpfStart   int  // entry of the flag list that a TCPF message starts with
	clientChunk int  // write sizes of a TCP relay
	serverChunk int
	dialSeconds int
}

var families = map[string]*family{
	"a": {
		name: "a", writeHeader: writeGob, readHeader: readGob, streamMode: false, tcpfStart: 1,
		clientChunk: 32 << 10, serverChunk: 64 << 10, dialSeconds: 10,
	},
	"b": {
		name: "b", writeHeader: writeBinary, readHeader: readBinary, streamMode: true, tcpfStart: 0,
		clientChunk: 8 << 10, serverChunk: 8 << 10, dialSeconds: 8,
	},
	"b20": { // family B at v1.0.0-alpha.20
		name: "b20", writeHeader: writeBinary20, readHeader: readBinary20, streamMode: true, tcpfStart: 0,
		clientChunk: 8 << 10, serverChunk: 8 << 10, dialSeconds: 8,
	},
}

func familyByName(name string) (*family, error) {
	if f := families[name]; f != nil {
		return f, nil
	}
	return nil, fmt.Errorf("unknown family %q (a, b or b20)", name)
}

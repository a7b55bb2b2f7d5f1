package main

import (
	"bufio"
	"encoding/gob"
	"io"

	"paqet/interop/internal/conf"
)

// Proto and Addr are the header of family A. Their names, and names, order and types of their fields, are
// wire format: gob describes them at the start of every message.
type Proto struct {
	Type byte
	Addr *Addr
	TCPF []conf.TCPF
}

// Addr is the target of a relay.
type Addr struct {
	Host string
	Port int
}

// writeGob uses a new encoder for each message, so each repeats the type descriptions. The encoder writes
// every description and the value with a Write of its own: five frames of the multiplexer.
func writeGob(w io.Writer, h *header) error {
	p := Proto{Type: h.kind}
	if h.kind == typeTCP || h.kind == typeUDP {
		p.Addr = &Addr{h.host, h.port}
	}
	for _, f := range h.flags {
		p.TCPF = append(p.TCPF, f.toGob())
	}
	return gob.NewEncoder(w).Encode(&p)
}

// readGob keeps a trap of the originals: as their stream is no io.ByteReader, the decoder wraps it in a 4096-byte
// bufio.Reader, and whatever that read beyond the header is lost. Here that reader is made by hand, to look into it.
func readGob(r io.Reader) (*header, error) {
	var p Proto
	buffered := bufio.NewReader(r)
	if err := gob.NewDecoder(buffered).Decode(&p); err != nil {
		return nil, err
	}
	h := &header{kind: p.Type, swallowed: buffered.Buffered()}
	if p.Addr != nil {
		h.host, h.port = p.Addr.Host, p.Addr.Port
	}
	for _, t := range p.TCPF {
		h.flags = append(h.flags, flagSetFromGob(t))
	}
	return h, nil
}

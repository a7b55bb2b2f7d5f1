package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The header of family B: magic, version, type, length of the body (big endian), body.
const (
	binMagic    = 0x50
	binVersion  = 1
	binMaxBody  = 4096
	binMaxHost  = 253
	binMaxFlags = 64
)

var errBinBody = errors.New("malformed header body")

// writeBinary sends the whole header with one write.
func writeBinary(w io.Writer, h *header) error {
	msg := []byte{binMagic, binVersion, h.kind, 0, 0}
	switch h.kind {
	case typePing, typePong:
	case typeTCP, typeUDP:
		if len(h.host) > binMaxHost {
			return fmt.Errorf("host name of %d bytes", len(h.host))
		}
		msg = append(msg, byte(len(h.host)))
		msg = append(msg, h.host...)
		msg = binary.BigEndian.AppendUint16(msg, uint16(h.port))
	case typeTCPF:
		if len(h.flags) > binMaxFlags {
			return fmt.Errorf("%d flag sets", len(h.flags))
		}
		msg = append(msg, byte(len(h.flags)))
		for _, f := range h.flags {
			msg = binary.BigEndian.AppendUint16(msg, uint16(f))
		}
	default:
		return fmt.Errorf("header type %d", h.kind)
	}
	binary.BigEndian.PutUint16(msg[3:], uint16(len(msg)-5))
	_, err := w.Write(msg)
	return err
}

// readBinary reads exactly the header, so payload may follow in the same frame.
func readBinary(r io.Reader) (*header, error) {
	var fixed [5]byte
	if _, err := io.ReadFull(r, fixed[:]); err != nil {
		return nil, err
	}
	if fixed[0] != binMagic || fixed[1] != binVersion {
		return nil, fmt.Errorf("header begins % x", fixed[:2])
	}
	n := int(binary.BigEndian.Uint16(fixed[3:]))
	if n > binMaxBody {
		return nil, fmt.Errorf("header body of %d bytes", n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, err
	}
	h := &header{kind: fixed[2]}
	switch h.kind {
	case typePing, typePong: // a body is ignored
	case typeTCP, typeUDP:
		if n < 3 || body[0] > binMaxHost || n != 3+int(body[0]) {
			return nil, errBinBody
		}
		h.host = string(body[1 : n-2])
		h.port = int(binary.BigEndian.Uint16(body[n-2:]))
	case typeTCPF:
		if n < 1 || body[0] > binMaxFlags || n != 1+2*int(body[0]) {
			return nil, errBinBody
		}
		for b := body[1:]; len(b) > 0; b = b[2:] {
			h.flags = append(h.flags, flagSet(binary.BigEndian.Uint16(b)))
		}
	default:
		return nil, fmt.Errorf("header type %d", h.kind)
	}
	return h, nil
}

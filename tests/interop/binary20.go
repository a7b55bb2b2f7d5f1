package main

import (
	"encoding/binary"
	"fmt"
	"io"
)

// The header of family B at v1.0.0-alpha.20: magic, version, type, body, without a length.

// writeBinary20 sends the whole header with one write.
func writeBinary20(w io.Writer, h *header) error {
	msg := []byte{binMagic, binVersion, h.kind}
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
	_, err := w.Write(msg)
	return err
}

// readBinary20 reads exactly the header, so payload may follow in the same frame.
func readBinary20(r io.Reader) (*header, error) {
	take := func(n int) ([]byte, error) {
		b := make([]byte, n)
		_, err := io.ReadFull(r, b)
		return b, err
	}
	fixed, err := take(3)
	if err != nil {
		return nil, err
	}
	if fixed[0] != binMagic || fixed[1] != binVersion {
		return nil, fmt.Errorf("header begins % x", fixed[:2])
	}
	h := &header{kind: fixed[2]}
	if h.kind == typePing || h.kind == typePong {
		return h, nil
	}
	count, err := take(1)
	if err != nil {
		return nil, err
	}
	n := int(count[0])
	switch h.kind {
	case typeTCP, typeUDP:
		body, err := take(n + 2)
		if err != nil || n > binMaxHost {
			return nil, errBinBody
		}
		h.host = string(body[:n])
		h.port = int(binary.BigEndian.Uint16(body[n:]))
	case typeTCPF:
		body, err := take(2 * n)
		if err != nil || n > binMaxFlags {
			return nil, errBinBody
		}
		for ; len(body) > 0; body = body[2:] {
			h.flags = append(h.flags, flagSet(binary.BigEndian.Uint16(body)))
		}
	default:
		return nil, fmt.Errorf("header type %d", h.kind)
	}
	return h, nil
}

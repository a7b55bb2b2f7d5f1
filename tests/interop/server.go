package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/xtaci/kcp-go/v5"
	"github.com/xtaci/smux"
)

// server accepts sessions, and streams in them, until its packet connection is closed.
type server struct {
	family *family
	tunnel tunnelConfig
	raw    *rawConn
	quic   bool
}

func (s *server) run() error {
	if s.quic {
		return s.runQUIC()
	}
	listener, err := kcp.ServeConn(s.tunnel.block, s.tunnel.dshard, s.tunnel.pshard, s.raw)
	if err != nil {
		return err
	}
	for {
		session, err := listener.AcceptKCP()
		if err != nil {
			return err
		}
		s.tunnel.tune(session)
		go s.serveSession(session)
	}
}

func (s *server) serveSession(session *kcp.UDPSession) {
	defer session.Close()
	from := unmap(session.RemoteAddr().(*net.UDPAddr).AddrPort())
	if s.family.name != "a" {
		defer s.raw.flags.forget(from)
	}
	mux, err := smux.Server(session, s.tunnel.smux())
	if err != nil {
		verbosef("%v: %v", from, err)
		return
	}
	defer mux.Close()
	verbosef("%v: session %08x", from, session.GetConv())
	for {
		stream, err := mux.AcceptStream()
		if err != nil {
			verbosef("%v: session ended: %v", from, err)
			return
		}
		go func() {
			defer stream.Close()
			if err := s.serveStream(stream, from); err != nil {
				verbosef("%v: stream %d: %v", from, stream.ID(), err)
			}
		}()
	}
}

func (s *server) serveStream(stream stream, from netip.AddrPort) error {
	h, err := s.family.readHeader(stream)
	if errors.Is(err, io.EOF) {
		return nil // an empty stream is the liveness check of the clients
	}
	if err != nil {
		return fmt.Errorf("header: %w", err)
	}
	verbosef("%v: stream %d: type %d %s:%d %v", from, stream.ID(), h.kind, h.host, h.port, h.flags)
	if h.swallowed > 0 {
		fmt.Printf("stream %d: swallowed %d bytes behind its header\n", stream.ID(), h.swallowed)
	}
	switch h.kind {
	case typePing:
		return s.family.writeHeader(stream, &header{kind: typePong})
	case typeTCPF:
		if len(h.flags) > 0 {
			s.raw.flags.set(from, h.flags, s.family.tcpfStart)
		} else if s.family.name != "a" {
			s.raw.flags.forget(from)
		}
		return nil
	case typeTCP:
		return s.relayTCP(stream, h)
	case typeUDP:
		return s.relayUDP(stream, h)
	default:
		return fmt.Errorf("header type %d", h.kind)
	}
}

func (s *server) dial(network string, h *header) (net.Conn, error) {
	limit := time.Duration(s.family.dialSeconds) * time.Second
	return net.DialTimeout(network, net.JoinHostPort(h.host, strconv.Itoa(h.port)), limit)
}

// relayTCP copies both ways. A FIN closes a stream in both directions, so the first end of any side ends
// both.
func (s *server) relayTCP(stream stream, h *header) error {
	target, err := s.dial("tcp", h)
	if err != nil {
		return err
	}
	return both(stream, target,
		func() error {
			_, err := io.Copy(target, stream)
			return err
		},
		func() error { return copyChunks(stream, target, s.family.serverChunk) })
}

// relayUDP makes one datagram of each frame and one frame of each datagram. Family B drops what is longer
// than 4096 bytes.
func (s *server) relayUDP(stream stream, h *header) error {
	target, err := s.dial("udp", h)
	if err != nil {
		return err
	}
	if s.family.name == "a" {
		return both(stream, target,
			func() error {
				_, err := io.Copy(target, stream) // smux: one Write for each frame
				return err
			},
			func() error { return copyChunks(stream, target, 16<<10) })
	}
	return both(stream, target,
		func() error { return copyDatagrams(target, stream) },
		func() error { return copyDatagrams(stream, target) })
}

// both runs the two directions of a relay, closes both ends as soon as one has ended, and returns the
// error of the first.
func both(a, b io.Closer, up, down func() error) error {
	var once sync.Once
	var first error
	var wait sync.WaitGroup
	for _, direction := range []func() error{up, down} {
		wait.Add(1)
		go func() {
			defer wait.Done()
			err := direction()
			once.Do(func() { first = err })
			a.Close()
			b.Close()
		}()
	}
	wait.Wait()
	return first
}

// copyChunks copies with writes of at most size bytes; the wrapping hides the shortcuts of io.Copy.
func copyChunks(dst io.Writer, src io.Reader, size int) error {
	_, err := io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, make([]byte, size))
	return err
}

const binMaxDatagram = 4096

func copyDatagrams(dst io.Writer, src io.Reader) error {
	buf := make([]byte, binMaxDatagram+1)
	for {
		n, err := src.Read(buf)
		if err != nil {
			return err
		}
		if n == 0 || n > binMaxDatagram {
			continue
		}
		if _, err := dst.Write(buf[:n]); err != nil {
			return err
		}
	}
}
